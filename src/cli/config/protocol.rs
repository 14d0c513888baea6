//! What a listener speaks.

/// What a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ListenerProtocol {
    /// HTTPS if a site has a certificate, otherwise HTTP.
    #[default]
    Usual,
    /// HTTP without TLS.
    Http,
    /// HTTPS.
    Https,
    /// HTTP, and only to send clients to HTTPS.
    Redirect,
}

impl ListenerProtocol {
    /// Those that a file may name.
    pub(super) const NAMED: [Self; 3] = [Self::Http, Self::Https, Self::Redirect];

    /// The name in a file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Usual => "",
            Self::Http => "http",
            Self::Https => "https",
            Self::Redirect => "redirect",
        }
    }
}
