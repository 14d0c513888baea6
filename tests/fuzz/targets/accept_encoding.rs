//! Fuzzes the value of an `Accept-Encoding` field.

#![no_main]

use ringd::http::semantics::negotiate::fuzz_accept_encoding;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_accept_encoding(data));
