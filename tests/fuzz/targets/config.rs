//! Fuzzes a configuration file: mistakes can be shown, and what is printed means the same.

#![no_main]

use ringd::cli::fuzz_config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_config(data));
