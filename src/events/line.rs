//! An event as a line of text or JSON.

use std::fmt::Write;

use jiff::Timestamp;

use super::{EventKind, EventSettings};
use crate::log_output::LogTarget;

/// How events are written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventFormat {
    /// `2026-11-29T13:41:03.123Z warn file_denied: the message`. On a standard stream only
    /// `ringd: the message`, because whoever collects such lines adds the time, and knows the
    /// program.
    Text,
    /// An object of JSON with `ts` (RFC 3339, UTC), `level`, `event` and `message`.
    Json,
}

/// The line of an event, with its end.
pub(super) fn write(settings: &EventSettings, kind: EventKind, message: &str) -> String {
    let is_file = matches!(settings.target, LogTarget::File(_));
    match settings.format {
        EventFormat::Text if is_file => {
            let (level, name) = (kind.level().name(), kind.name());
            format!("{:.3} {level} {name}: {message}\n", Timestamp::now())
        }
        EventFormat::Text => format!("ringd: {message}\n"),
        EventFormat::Json => {
            let (level, name) = (kind.level().name(), kind.name());
            let mut line = format!(
                "{{\"ts\":\"{:.3}\",\"level\":\"{level}\",\"event\":\"{name}\",\"message\":\"",
                Timestamp::now()
            );
            push_escaped(&mut line, message);
            line + "\"}\n"
        }
    }
}

/// Appends a text as a string of JSON (RFC 8259, section 7). C1 controls and DEL, which JSON
/// permits, are escaped too: terminals obey them.
fn push_escaped(line: &mut String, text: &str) {
    for character in text.chars() {
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
    use crate::events::Level;

    fn line(target: LogTarget, format: EventFormat, message: &str) -> String {
        let settings = EventSettings { target, format, level: Level::Info };
        write(&settings, EventKind::FileDenied, message)
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
