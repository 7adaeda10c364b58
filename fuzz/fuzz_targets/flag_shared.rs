//! What Redis says to flag-relay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flag_relay::attack::shared(bytes));
