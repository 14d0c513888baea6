//! Values as they are written in a file.

use std::fmt::Write;

/// A string of TOML that stands for a text. Dollars are doubled, because one dollar begins a
/// variable.
pub(super) fn toml_string(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for char in text.chars() {
        match char {
            '"' => written += "\\\"",
            '\\' => written += "\\\\",
            '$' => written += "$$",
            '\t' => written += "\\t",
            '\n' => written += "\\n",
            // Writing to a string does not fail.
            char if char.is_control() => drop(write!(written, "\\u{:04X}", u32::from(char))),
            char => written.push(char),
        }
    }
    written.push('"');
    written
}

/// A key of TOML, in quotation marks where it needs them. Keys have no variables.
pub(super) fn toml_key(key: &str) -> String {
    let is_bare = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
    if !key.is_empty() && key.chars().all(is_bare) {
        return key.to_owned();
    }
    toml_string(key).replace("$$", "$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_string_is_the_text_again() {
        for text in ["", "a b", "\"\\\u{7f}\u{85}\r\n\t\0", "ü€", "a$b$$"] {
            let written = toml_string(text);
            let document = format!("{} = {written}", toml_key(text));
            let table = toml::de::DeTable::parse(&document).unwrap();
            let (key, value) = table.get_ref().iter().next().unwrap();
            assert_eq!(key.get_ref(), text);
            assert_eq!(value.get_ref().as_str().unwrap().replace("$$", "$"), text);
        }
    }
}
