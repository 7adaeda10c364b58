//! Files of the queue of agent-relay, their indexes, and the heads of records.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| agent_relay::attack::relay(bytes));
