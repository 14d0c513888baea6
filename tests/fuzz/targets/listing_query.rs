//! Fuzzes the query of a listing.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::http::site::listing::fuzz_listing_query(data));
