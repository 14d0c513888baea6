//! Fuzzes conditional fields.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::semantics::condition::fuzz_condition(data));
