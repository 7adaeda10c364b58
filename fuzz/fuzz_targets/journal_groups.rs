//! A file of the journal.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| autostop::attack::journal(bytes));
