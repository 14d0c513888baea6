//! Fuzzes conditional fields.

#![no_main]

use ringd::http::semantics::condition::fuzz_condition;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_condition(data));
