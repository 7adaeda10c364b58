//! An HTTP/1 connection, played whole and cut up.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| goproxy::attack::http1(bytes));
