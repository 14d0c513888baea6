//! Fuzzes dates.

#![no_main]

use ringd::http::semantics::date::fuzz_date;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_date(data));
