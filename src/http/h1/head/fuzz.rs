//! The fuzz entry of request heads.

use super::{Head, parse};
use crate::http::semantics::authority;
use crate::http::semantics::request::RequestLimits;

/// Fuzz entry: checks the chunking law, and the limits and the grammar of accepted heads.
///
/// # Panics
///
/// If an invariant of [`parse`] does not hold.
pub fn fuzz_head(data: &[u8]) {
    // With small limits, short inputs reach every refusal.
    let small =
        RequestLimits { head_bytes_max: 96, target_bytes_max: 24, ..RequestLimits::default() };
    for limits in [RequestLimits::default(), small] {
        let whole = parse(data, &limits);
        if let Ok(Some((Head { request, .. }, used))) = whole {
            assert!(used <= data.len() && used <= limits.head_bytes_max);
            assert!(request.target.len() <= limits.target_bytes_max);
            assert!(data[..used].ends_with(b"\r\n\r\n"));
            assert!(!request.target.is_empty());
            assert!(request.target.iter().all(|byte| *byte > b' ' && *byte != b'#'));
            assert!(authority::is_valid(request.host));
        }
        // Long inputs are split at a sample of positions, because each split costs a scan.
        for end in (0..data.len()).step_by(1 + data.len() / 512) {
            let part = parse(&data[..end], &limits);
            assert!(part == Ok(None) || part == whole, "cut at {end}: {part:?}, whole: {whole:?}");
        }
    }
}
