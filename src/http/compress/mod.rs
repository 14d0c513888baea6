//! Compression on the fly: makes compressed forms of files while they are served.
//!
//! ```text
//!  worker -- ask --> Compressor -- job --> thread -- CompressedBody --> VariantStore
//!    ^                   |                                                 |
//!    |`-- found, later --'                                                 |
//!    `------------------------ EvictedBodies (a message) ------------------'
//! ```
//!
//! A worker asks for the compressed form of a file when a client would like it. If the store has
//! it, the worker gets it at once; otherwise a job is queued, and the worker asks again when the
//! count of finished jobs has grown ([`Compressor::done`]). Nobody waits meanwhile: the client gets
//! another form. The store is that of the process, so each file is compressed once, however many
//! workers serve it.
//!
//! **Bounds.** There is one thread, with a lower priority. [`QUEUE_MAX`] jobs wait. The store holds
//! at most so many bytes and files as [`CompressBounds`] say; it counts a body that it has evicted
//! until the last worker and the last response have let go of it. If that takes long, because a
//! client reads slowly, more is evicted instead. An evicted body is not made again for
//! [`RETRY_AFTER`], so clients that ask for more files than fit cannot keep the thread busy with
//! the same ones. What can never be kept is not made again at all: a body that is larger than the
//! store, and a large one if the system has no files in memory.
//!
//! **Truth.** The tag of a body is a hash of its bytes. A large file is read by its descriptor, and
//! the result is kept only if the metadata of the file is the same before and after. The bytes of a
//! small file are in memory, and are those that clients get; only their number is compared.
//!
//! | file | holds |
//! | --- | --- |
//! | `settings.rs` | what a site compresses; bounds of the process |
//! | `body.rs` | compressed bytes, and what they are made of |
//! | `encode.rs` | the encoders |
//! | `job.rs` | makes a body of a file |
//! | `store.rs` | keeps bodies within bounds |
//! | `compressor.rs` | the queue, and the thread |

mod body;
mod compressor;
mod encode;
mod job;
mod settings;
mod store;

#[cfg(test)]
mod tests;

pub use body::{CompressedBody, CompressedContent, CompressedId};
pub use compressor::{
    AskedBody, CompressStats, Compressor, EvictedBodies, EvictionPost, FilesDenied, QUEUE_MAX,
};
pub use job::CompressSource;
pub use settings::{CompressBounds, CompressLevel, CompressSettings};
pub use store::RETRY_AFTER;

/// Whether this build can compress: whether it has the feature `compress`.
pub const IS_BUILT: bool = cfg!(feature = "compress");
