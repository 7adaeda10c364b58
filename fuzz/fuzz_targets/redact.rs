//! A message whose secrets are overwritten.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| goproxy::attack::redact(bytes));
