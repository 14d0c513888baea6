//! The examples of RFC 7541 Appendix C.

use super::super::decode::Decoder;
use super::super::integer::{self, Input};
use super::super::oracle::NaiveTable;
use super::{bytes, fields, fuzz, whole};

/// A block with its fields, then the entries of the dynamic table, the newest first, and its size.
type Example = (&'static str, &'static [&'static str], &'static [&'static str], usize);

/// Decodes the blocks of one connection.
fn check(section: &str, limit: usize, examples: &[Example]) {
    let mut decoder = Decoder::with_limit(limit);
    for (number, (block, list, entries, size)) in examples.iter().enumerate() {
        let place = format!("C.{section}, block {}", number + 1);
        assert_eq!(whole(&mut decoder, &bytes(block)), Ok(fields(list)), "{place}");
        let table = NaiveTable { entries: fields(entries), size_max: limit };
        assert_eq!(fuzz::entries(&mut decoder, entries.len()), table.entries, "{place}");
        assert_eq!(table.size(), *size, "{place}");
    }
}

#[test]
fn integers() {
    for (section, block, prefix, value) in
        [("C.1.1", "0a", 5, 10), ("C.1.2", "1f9a0a", 5, 1337), ("C.1.3", "2a", 8, 42)]
    {
        let block = bytes(block);
        let mut input = Input::new(&block);
        assert_eq!((input.integer(prefix), input.first()), (Ok(value), None), "{section}");
        let mut out = Vec::new();
        integer::write(&mut out, 0, prefix, value);
        assert_eq!(out, block, "{section}");
    }
    // The other bits of the first byte do not belong to the integer.
    assert_eq!(Input::new(&[0xea]).integer(5), Ok(10));
}

#[test]
fn each_representation() {
    check(
        "2.1",
        4096,
        &[(
            "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572",
            &["custom-key: custom-header"],
            &["custom-key: custom-header"],
            55,
        )],
    );
    check("2.2", 4096, &[("040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], &[], 0)]);
    check(
        "2.3",
        4096,
        &[("1008 7061 7373 776f 7264 0673 6563 7265 74", &["password: secret"], &[], 0)],
    );
    check("2.4", 4096, &[("82", &[":method: GET"], &[], 0)]);
}

/// The lists and tables of C.3 and C.4.
fn requests(blocks: [&'static str; 3]) -> [Example; 3] {
    const LISTS: [&[&str]; 3] = [
        &[":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"],
        &[
            ":method: GET",
            ":scheme: http",
            ":path: /",
            ":authority: www.example.com",
            "cache-control: no-cache",
        ],
        &[
            ":method: GET",
            ":scheme: https",
            ":path: /index.html",
            ":authority: www.example.com",
            "custom-key: custom-value",
        ],
    ];
    const ENTRIES: [&str; 3] =
        ["custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"];
    [
        (blocks[0], LISTS[0], &ENTRIES[2..], 57),
        (blocks[1], LISTS[1], &ENTRIES[1..], 110),
        (blocks[2], LISTS[2], &ENTRIES, 164),
    ]
}

#[test]
fn requests_without_huffman() {
    let blocks = [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
    ];
    check("3", 4096, &requests(blocks));
}

#[test]
fn requests_with_huffman() {
    let blocks = [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
    ];
    check("4", 4096, &requests(blocks));
}

/// The lists and tables of C.5 and C.6.
fn responses(blocks: [&'static str; 3]) -> [Example; 3] {
    const COOKIE: &str = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
    const LISTS: [&[&str]; 3] = [
        &[
            ":status: 302",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com",
        ],
        &[
            ":status: 307",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "location: https://www.example.com",
        ],
        &[
            ":status: 200",
            "cache-control: private",
            "date: Mon, 21 Oct 2013 20:13:22 GMT",
            "location: https://www.example.com",
            "content-encoding: gzip",
            COOKIE,
        ],
    ];
    const TABLES: [&[&str]; 3] = [
        &[
            "location: https://www.example.com",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "cache-control: private",
            ":status: 302",
        ],
        &[
            ":status: 307",
            "location: https://www.example.com",
            "date: Mon, 21 Oct 2013 20:13:21 GMT",
            "cache-control: private",
        ],
        &[COOKIE, "content-encoding: gzip", "date: Mon, 21 Oct 2013 20:13:22 GMT"],
    ];
    [
        (blocks[0], LISTS[0], TABLES[0], 222),
        (blocks[1], LISTS[1], TABLES[1], 222),
        (blocks[2], LISTS[2], TABLES[2], 215),
    ]
}

#[test]
fn responses_without_huffman() {
    let blocks = [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a
         3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04
         677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49
         553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
    ];
    check("5", 256, &responses(blocks));
}

#[test]
fn responses_with_huffman() {
    let blocks = [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e
         919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7
         821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed
         4ee5 b106 3d50 07",
    ];
    check("6", 256, &responses(blocks));
}
