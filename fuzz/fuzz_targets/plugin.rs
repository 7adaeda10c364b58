//! A line of a plug-in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| autostop::attack::plugin(bytes));
