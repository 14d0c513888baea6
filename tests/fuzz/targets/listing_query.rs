//! Fuzzes the query of a listing.

#![no_main]

use ringd::http::site::listing::fuzz_listing_query;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_listing_query(data));
