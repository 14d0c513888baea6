//! An event as a line of text or JSON.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::kind::EventKind;
use super::message::EventMessage;
use super::settings::{EventFormat, EventSettings};
use crate::log_output::LogTarget;

/// The most bytes of a text, such as the backtrace of a panic. The rest is cut off.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The line of an event, with its end. In a file, further lines of a message are indented, so that
/// each line without an indent begins an event.
pub(super) fn write(settings: &EventSettings, kind: EventKind, message: &EventMessage) -> String {
    let is_file = matches!(settings.target, LogTarget::File(_));
    let (level, name) = (kind.level().name(), kind.name());
    let mut line = String::new();
    match settings.format {
        EventFormat::Text if is_file => {
            line += &format!("{:.3} {level} {name}: ", Timestamp::now());
            push_text(&mut line, &message.text, "\n    ");
        }
        EventFormat::Text => {
            line += "ringd: ";
            push_text(&mut line, &message.text, "\n");
        }
        EventFormat::Json => {
            line += &format!("{{\"ts\":\"{:.3}\",\"level\":\"{level}\"", Timestamp::now());
            line += &format!(",\"event\":\"{name}\",\"message\":\"");
            push_json(&mut line, &message.text);
            for (name, value) in &message.fields {
                line += &format!("\",\"{name}\":\"");
                push_json(&mut line, value);
            }
            line += "\"}";
        }
    }
    line + "\n"
}

/// As much of a text as is written.
fn beginning(text: &str) -> &str {
    let is_end = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(is_end);
    &text[..end.unwrap_or(0)]
}

/// Appends a text. Control characters, which a terminal would obey, are written as numbers, but for
/// line ends.
fn push_text(line: &mut String, text: &str, line_end: &str) {
    for character in beginning(text).chars() {
        match character {
            '\n' => line.push_str(line_end),
            control if control.is_control() => {
                let _ = write!(line, "\\x{:02x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
}

/// Appends a text as a string of JSON (RFC 8259, section 7). C1 controls and DEL, which JSON
/// permits, are escaped too.
fn push_json(line: &mut String, text: &str) {
    for character in beginning(text).chars() {
        match character {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            '\n' => line.push_str("\\n"),
            control if control.is_control() => {
                let _ = write!(line, "\\u{:04x}", u32::from(control));
            }
            other => line.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventLevel;

    fn line(target: LogTarget, format: EventFormat, message: &str) -> String {
        let settings = EventSettings { target, format, level: EventLevel::Info };
        write(&settings, EventKind::FileDenied, &message.into())
    }

    #[test]
    fn a_line_has_a_time_where_nobody_else_adds_it() {
        let to_file = line(LogTarget::File("x".into()), EventFormat::Text, "no");
        let (time, rest) = to_file.split_once(' ').unwrap();
        assert_eq!(rest, "warn file_denied: no\n");
        assert!(time.ends_with('Z') && time.parse::<Timestamp>().is_ok(), "{time}");
        assert_eq!(line(LogTarget::Stderr, EventFormat::Text, "no"), "ringd: no\n");
    }

    #[test]
    fn a_text_cannot_forge_a_line() {
        let to_file = line(LogTarget::File("x".into()), EventFormat::Text, "a\nb \u{1b}[2J \u{9b}");
        assert!(to_file.ends_with(": a\n    b \\x1b[2J \\x9b\n"), "{to_file}");
        let on_terminal = line(LogTarget::Stderr, EventFormat::Text, "a\nb\r");
        assert_eq!(on_terminal, "ringd: a\nb\\x0d\n");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let long = "ü".repeat(TEXT_BYTES_MAX);
        assert_eq!(beginning(&long).len(), TEXT_BYTES_MAX);
        let odd = format!("x{long}");
        assert_eq!(beginning(&odd).len(), TEXT_BYTES_MAX - 1);
        assert_eq!(beginning("short"), "short");
    }

    #[test]
    fn values_are_members_of_the_object() {
        let settings = EventSettings {
            target: LogTarget::Stderr,
            format: EventFormat::Json,
            level: EventLevel::Info,
        };
        let message = EventMessage::new("403").with("path", "/a\"b").with("site", "main");
        let object = write(&settings, EventKind::FileDenied, &message);
        let object: serde_json::Value = serde_json::from_str(&object).unwrap();
        assert_eq!((&object["path"], &object["site"]), (&"/a\"b".into(), &"main".into()));
    }

    #[test]
    fn a_line_of_json_is_one_object_whatever_the_message() {
        let message = "a \"b\" \\ \n \u{7f} \u{9b}2J \u{0} ü";
        let line = line(LogTarget::Stderr, EventFormat::Json, message);
        let object = line.strip_suffix('\n').unwrap();
        assert!(!object.chars().any(char::is_control), "{object}");
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        assert_eq!(object["message"], message);
        assert_eq!((&object["level"], &object["event"]), (&"warn".into(), &"file_denied".into()));
    }
}
