//! Fuzzes a whole conversation in HTTP/2: however it is cut into pieces, the answers are the same,
//! and every frame of the server is legal.

#![no_main]
#![allow(dead_code, reason = "the entry does not use all of the peer")]

#[path = "../../http2/entry.rs"]
mod entry;
#[path = "../../common/h2.rs"]
mod h2;
#[path = "../../http/support/sample.rs"]
mod sample;
#[path = "../../http2/talk.rs"]
mod talk;

use std::sync::{Arc, LazyLock};

use ringd::driver::File;
use tempfile::TempDir;

static ROOT: LazyLock<(TempDir, Arc<File>)> = LazyLock::new(sample::root);

libfuzzer_sys::fuzz_target!(|data: &[u8]| entry::fuzz_h2(&ROOT.1, data));
