//! The fuzz entry of configuration files.

use std::ffi::OsString;
use std::path::Path;

use super::draft::Draft;
use super::flags::Flags;
use super::load::{ConfigError, finish};
use super::problem::Problems;
use super::reader::Reader;

/// Fuzz entry: any bytes are a configuration, or have mistakes that can be shown.
///
/// # Panics
///
/// If a place lies outside of its text, or a configuration that is printed means something else.
pub fn fuzz_config(data: &[u8]) {
    match load(data) {
        Ok(config) => {
            let Ok(printed) = config.to_toml() else { return };
            let again = load(printed.as_bytes());
            let again = again.unwrap_or_else(|problems| panic!("{}\n{printed}", shown(&problems)));
            assert_eq!(again.meaning(), config.meaning(), "{printed}");
        }
        Err(problems) => {
            for problem in &problems.list {
                let other = problem.other.iter().map(|(place, _)| place);
                for place in problem.place.iter().chain(other) {
                    let text = problems.sources.text(place.file);
                    assert!(text.get(place.start..place.end).is_some(), "{problem:?}");
                }
            }
            let plain = problems.render(false);
            assert!(!plain.contains('\x1b'), "{plain:?}");
            assert!(problems.count() > 0 && !problems.render(true).is_empty());
        }
    }
}

fn shown(problems: &Problems) -> String {
    problems.render(false)
}

fn load(data: &[u8]) -> Result<super::Config, Box<Problems>> {
    let environment = |name: &str| (name.len() < 3).then(|| OsString::from("value"));
    let mut reader = Reader::new(&environment);
    let path = Path::new("ringd.toml");
    let mut draft = Draft::default();
    // What it includes is not read: a fuzzer has no files.
    reader.parse(path, data.to_vec(), |reader, table| {
        reader.top(table, Path::new(""), &mut draft);
    });
    finish(reader, draft, Some(path), &Flags::default()).map_err(|error| match error {
        ConfigError::Problems(problems) => problems,
        ConfigError::Usage(line) => panic!("there are no flags: {line}"),
    })
}
