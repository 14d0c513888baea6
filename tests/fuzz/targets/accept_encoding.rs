//! Fuzzes the value of an `Accept-Encoding` field.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::semantics::negotiate::fuzz_accept_encoding(data));
