//! Fuzzes the head of a request.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::h1::head::fuzz_head(data));
