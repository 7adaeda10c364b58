//! An exchange, and a batch of them, off the wire.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::attack::wire_exchange(bytes));
