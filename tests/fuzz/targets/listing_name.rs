//! Fuzzes a name in a listing.

#![no_main]

use ringd::http::site::listing::fuzz_listing_name;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_listing_name(data));
