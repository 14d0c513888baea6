//! Clients: who a client is, behind whatever proxies, and whether it may come in.
//!
//! ```text
//!  socket's peer --> PROXY header --> forwarded field --> Client, ClientKey
//!                    (connection)     (request)
//! ```
//!
//! What a proxy says of its clients counts only if the proxy is trusted: a [`Door`] says for each
//! listener who is, and what they say. A peer that is not trusted is never asked, since everybody
//! can write what proxies write.
//!
//! | file | content |
//! | --- | --- |
//! | `client.rs` | the client of a request |
//! | `client_key.rs` | who shares a limit |
//! | `networks.rs` | sets of addresses |
//! | `access.rs` | `allow` and `deny` |
//! | `door.rs` | what a listener knows of proxies, and whom it lets in |
//! | `proxy_header.rs` | the header of the PROXY protocol |
//! | `proxied.rs` | a session behind such a header |
//! | `forwarded.rs` | the walk through a forwarded field, and the scheme |

mod access;
mod client;
mod client_key;
mod door;
mod forwarded;
mod networks;
mod proxied;
mod proxy_header;

pub use access::Access;
pub use client::Client;
pub use client_key::{ClientKey, ClientPrefix};
pub use door::Door;
#[cfg(any(test, feature = "simulation"))]
#[doc(hidden)]
pub use forwarded::fuzz_forwarded;
pub use forwarded::{ForwardedField, ForwardedRequest};
pub use networks::{Network, NetworkError, Networks};
pub use proxied::{Doorkeeper, Proxied, ProxyFailure};
#[cfg(any(test, feature = "simulation"))]
#[doc(hidden)]
pub use proxy_header::fuzz_proxy_header;
pub use proxy_header::{PROXY_HEADER_MAX, ProxyHeader, ProxyHeaderError};
