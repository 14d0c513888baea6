//! The static table (RFC 7541 Appendix A), and the way from a name to its index.

/// The entries, from index 1: name and value.
#[rustfmt::skip]
pub(super) const STATIC_TABLE: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// The index of the first entry with the name `:status`.
pub(super) const STATUS_INDEX: usize = 8;

/// The lowest index whose entry has this name, in any case.
pub(super) fn index_of_name(name: &[u8]) -> Option<usize> {
    let (&first, &last) = (name.first()?, name.last()?);
    let index = usize::from(PLACES[place(name.len(), first, last)]);
    // An index of 0 marks a place that no name has.
    let (found, _) = STATIC_TABLE.get(index.checked_sub(1)?)?;
    found.eq_ignore_ascii_case(name).then_some(index)
}

const PLACE_BITS: u32 = 7;

/// The index of the only name that can be at each place. This runs for each field of each response,
/// so it must not compare a name with many others.
static PLACES: [u8; 1 << PLACE_BITS] = places();

/// A hash without collisions: no two names of the table have the same length, first byte and last
/// byte, and the factor, which was found by trial, gives all of them different places.
const fn place(length: usize, first: u8, last: u8) -> usize {
    // This makes letters lower case, and gives other bytes a place that does not matter.
    let (first, last) = (first | 0x20, last | 0x20);
    let key = length as u32 | (first as u32) << 8 | (last as u32) << 16;
    (key.wrapping_mul(0x64ad_062f) >> (u32::BITS - PLACE_BITS)) as usize
}

const fn places() -> [u8; 1 << PLACE_BITS] {
    let mut places = [0; 1 << PLACE_BITS];
    let mut index = STATIC_TABLE.len();
    while index > 0 {
        let name = STATIC_TABLE[index - 1].0;
        let place = place(name.len(), name[0], name[name.len() - 1]);
        // From the end, so that the first entry with a name remains.
        assert!(places[place] == 0 || places[place] as usize == index + 1);
        places[place] = index as u8;
        index -= 1;
    }
    places
}
