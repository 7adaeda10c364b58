//! What the flag service answers and streams to flag-relay.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| flag_relay::attack::answered(bytes));
