//! A rule file.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| autostop::attack::rule(bytes));
