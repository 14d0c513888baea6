//! Fuzzes dates.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::semantics::date::fuzz_date(data));
