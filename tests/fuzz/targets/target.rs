//! Fuzzes the target of a request.

#![no_main]

use ringd::http::site::target::fuzz_target;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_target(data));
