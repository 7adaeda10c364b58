//! Bodies in content codings.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forwarder::attack::coded(bytes));
