//! Fuzzes the target of a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::site::target::fuzz_target(data));
