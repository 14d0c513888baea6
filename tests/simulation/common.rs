//! What the worlds share with other tests.

#[path = "../common/hpack.rs"]
pub(crate) mod hpack;
#[path = "../common/http2.rs"]
pub(crate) mod http2;
#[path = "../common/http2_exchange.rs"]
pub(crate) mod http2_exchange;
