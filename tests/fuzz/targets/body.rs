//! Fuzzes a chunked body, which is discarded.

#![no_main]

use ringd::http::h1::body::fuzz_discard;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_discard(data));
