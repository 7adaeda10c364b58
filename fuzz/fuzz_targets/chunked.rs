//! A chunked body, scanned whole and byte by byte.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| common::attack::chunked(bytes));
