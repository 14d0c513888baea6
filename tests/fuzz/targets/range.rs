//! Fuzzes the value of a `Range` field.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::semantics::range::fuzz_range(data));
