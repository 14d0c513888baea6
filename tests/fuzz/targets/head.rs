//! Fuzzes the head of a request.

#![no_main]

use ringd::http::h1::head::fuzz_head;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_head(data));
