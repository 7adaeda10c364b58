//! Heads, cursors, patterns and everything that a URL can ask.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forwarder::attack::asked(bytes));
