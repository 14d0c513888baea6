//! Fuzzes a whole conversation: however it is cut into pieces, the answers are the same.

#![no_main]

#[path = "../../http/support/sample.rs"]
mod sample;

use std::sync::{Arc, LazyLock};

use ringd::driver::File;
use tempfile::TempDir;

static ROOT: LazyLock<(TempDir, Arc<File>)> = LazyLock::new(sample::root);

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    ringd::http::harness::fuzz_session(&ROOT.1, data);
});
