//! Fuzzes the value of an `Accept` field.

#![no_main]

use ringd::http::semantics::negotiate::fuzz_accept;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_accept(data));
