//! A file of the write-ahead log, read and replayed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| forwarder::attack::wal(bytes));
