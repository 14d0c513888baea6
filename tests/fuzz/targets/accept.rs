//! Fuzzes the value of an `Accept` field.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::semantics::negotiate::fuzz_accept(data));
