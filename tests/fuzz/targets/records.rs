//! Fuzzes the records of a layer: however they are cut into pieces, the plaintext is the same.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringd::secured::fuzz_toy(data));
