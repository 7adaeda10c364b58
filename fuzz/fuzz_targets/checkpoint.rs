//! A checkpoint, read and written again.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forwarder::attack::checkpoint(bytes));
