//! Fuzzes rules for paths.

#![no_main]

use ringd::http::site::rewrites::fuzz_rewrite;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_rewrite(data));
