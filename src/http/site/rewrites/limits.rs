//! What rules for paths may be.

/// The most rules without placeholders of a site.
pub const LITERALS_MAX: usize = 10_000;

/// The most other rules of a site. A request may be compared with each of them.
pub const PATTERNS_MAX: usize = 500;

/// How long a pattern may be, in bytes.
pub(super) const FROM_BYTES_MAX: usize = 1024;

/// How many placeholders a pattern may have besides its asterisk.
pub(super) const PLACEHOLDERS_MAX: usize = 16;

/// The statuses of redirects.
pub const REDIRECT_STATUSES: [u16; 5] = [301, 302, 303, 307, 308];

/// The statuses of rewrites.
pub const REWRITE_STATUSES: [u16; 4] = [200, 404, 410, 451];
