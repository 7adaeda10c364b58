//! The start of a connection by the PROXY protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| autostop::attack::proxied(bytes));
