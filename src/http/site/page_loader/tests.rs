//! Which files beside the plain one count as other forms of it.

use super::is_as_new;

#[test]
fn a_time_in_whole_seconds_stands_for_its_second() {
    let plain = (1_700_000_000, 738_460_206);
    for (beside, is_new) in [
        (plain, true),
        ((plain.0, plain.1 + 1), true),
        ((plain.0 + 1, 0), true),
        // What `brotli -k` leaves behind.
        ((plain.0, 0), true),
        ((plain.0, plain.1 - 1), false),
        ((plain.0, 1), false),
        ((plain.0 - 1, 0), false),
        ((plain.0 - 1, 999_999_999), false),
    ] {
        assert_eq!(is_as_new(beside, plain), is_new, "{beside:?}");
    }
    assert!(!is_as_new((-2, 0), (-1, 0)) && is_as_new((-1, 0), (-1, 500_000_000)));
}
