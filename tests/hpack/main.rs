//! Stories: what encoders of other projects wrote, and the fields that they meant.
//!
//! `stories/` has a few of each encoder. `RINGD_TEST_STORIES=<directory>` names a larger set of the
//! same form, a folder for each encoder, which is decoded too.

use std::fs;
use std::path::{Path, PathBuf};

use ringd::http::h2::hpack::{Decoder, FieldList, ListLimits, encode_field};
use serde_json::Value;

/// The files of a folder, sorted.
fn files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// The bytes of a block.
fn wire(case: &Value) -> Vec<u8> {
    let digits = case["wire"].as_str().unwrap();
    let places = (0..digits.len()).step_by(2);
    places.map(|place| u8::from_str_radix(&digits[place..place + 2], 16).unwrap()).collect()
}

/// The fields that a block means.
fn meant(case: &Value) -> Vec<(String, String)> {
    let fields = case["headers"].as_array().unwrap().iter();
    let fields = fields.flat_map(|field| field.as_object().unwrap());
    fields.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

/// Decodes a block to text.
fn decoded(decoder: &mut Decoder, block: &[u8], place: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut visit = |name: &[u8], value: &[u8]| fields.push((text(name), text(value)));
    let result = decoder.decode(block, ListLimits::default(), &mut visit);
    assert_eq!(result, Ok(FieldList::Whole), "{place}");
    fields
}

/// Decodes the stories of a folder for each encoder. Returns the number of stories, blocks and
/// fields.
fn tell(folder: &Path) -> (usize, usize, usize) {
    let (mut stories, mut blocks, mut fields) = (0, 0, 0);
    for encoder in files(folder).iter().filter(|path| path.is_dir()) {
        for path in files(encoder) {
            let story: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
            let cases = story["cases"].as_array().unwrap();
            // Some encoders were told of larger tables than the default.
            let sizes = cases.iter().filter_map(|case| case["header_table_size"].as_u64());
            let limit = sizes.max().unwrap_or(0).max(4096);
            let mut decoder = Decoder::with_limit(limit.try_into().unwrap());
            for (number, case) in cases.iter().enumerate() {
                let place = format!("{}, block {number}", path.display());
                let meant = meant(case);
                assert_eq!(decoded(&mut decoder, &wire(case), &place), meant, "{place}");
                // The same fields by this crate's encoder.
                let mut block = Vec::new();
                for (name, value) in &meant {
                    encode_field(&mut block, name.as_bytes(), value.as_bytes());
                }
                assert_eq!(decoded(&mut Decoder::with_limit(0), &block, &place), meant, "{place}");
                fields += meant.len();
            }
            stories += 1;
            blocks += cases.len();
        }
    }
    println!("{}: {stories} stories, {blocks} blocks, {fields} fields", folder.display());
    (stories, blocks, fields)
}

#[test]
fn stories_of_all_encoders_are_decoded() {
    assert_eq!(tell(Path::new("tests/hpack/stories")), (15, 108, 1032));
}

#[test]
fn a_larger_set_of_stories_is_decoded() {
    let Some(folder) = std::env::var_os("RINGD_TEST_STORIES") else { return };
    assert!(tell(Path::new(&folder)).0 > 0, "RINGD_TEST_STORIES: there are no stories");
}
