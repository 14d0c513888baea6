//! Fuzzes a chunked body, which is discarded.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::h1::body::fuzz_discard(data));
