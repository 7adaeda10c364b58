//! A conversation in PostgreSQL's protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| autostop::attack::postgres(bytes));
