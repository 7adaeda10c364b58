//! A rule given to the API.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| autostop::attack::given(bytes));
