//! Fuzzes the header of the PROXY protocol.

#![no_main]

use ringd::clients::fuzz_proxy_header;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_proxy_header(data));
