//! Fuzzes the walk through a forwarded field.

#![no_main]

use ringd::clients::fuzz_forwarded;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_forwarded(data));
