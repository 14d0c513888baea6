//! Fuzzes the value of a `Range` field.

#![no_main]

use ringd::http::semantics::range::fuzz_range;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_range(data));
