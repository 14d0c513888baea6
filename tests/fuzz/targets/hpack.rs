//! Fuzzes header blocks of HTTP/2.

#![no_main]

use ringd::http::h2::hpack::fuzz_hpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_hpack(data));
