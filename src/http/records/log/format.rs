//! The format of a line of the access log: a template with values in braces, or JSON.

use std::fmt;

/// The format of Apache and nginx with this name.
#[cfg(test)]
pub(super) const COMMON: &str = r#"{client} - {user} [{time}] "{request}" {status} {body_bytes}"#;

/// The same with the page that has led to the request, and the program that has sent it.
#[cfg(test)]
pub(super) const COMBINED: &str =
    r#"{client} - {user} [{time}] "{request}" {status} {body_bytes} "{referer}" "{agent}""#;

/// The most bytes of a template.
const TEMPLATE_BYTES_MAX: usize = 4096;

/// The most fields of a request, as `{>Name}`, in a template.
const FIELDS_MAX: usize = 8;

/// Fields that must not get into a log.
const SECRET: [&str; 2] = ["authorization", "proxy-authorization"];

/// The most bytes of a request line in a line of the log.
pub(in super::super) const REQUEST_BYTES_MAX: usize = 8 * 1024;

/// The most bytes of another text.
pub(super) const TEXT_BYTES_MAX: usize = 1024;

/// What a line of the access log contains, and how it is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFormat {
    pub(super) layout: Layout,
    /// The texts of a request that lines need. They are copied when the response is written,
    /// because the line is written later.
    pub(in super::super) texts: Vec<Text>,
    /// Whether lines need the content coding.
    pub(in super::super) needs_coding: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// That of Apache and nginx.
    Common,
    /// The same, with `Referer` and `User-Agent`.
    Combined,
    Template(Vec<Piece>),
    Json,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Piece {
    Literal(Box<[u8]>),
    Value(Value),
}

/// A text of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum Text {
    /// The request line.
    Request,
    Host,
    Referer,
    Agent,
    /// The name of the site.
    Site,
    /// The name of the user whose password was right.
    User,
    /// The first field with this name.
    Field(Box<str>),
}

impl Text {
    /// The most bytes of the text in a line.
    pub(in super::super) const fn bytes_max(&self) -> usize {
        match self {
            Self::Request => REQUEST_BYTES_MAX,
            _ => TEXT_BYTES_MAX,
        }
    }
}

/// A value of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Value {
    Client,
    Time,
    TimeIso,
    Msec,
    Request,
    Method,
    Target,
    Path,
    Query,
    Protocol,
    Status,
    BodyBytes,
    Sent,
    Duration,
    DurationUs,
    Listener,
    Coding,
    Cache,
    Scheme,
    Tls,
    TlsCipher,
    TlsResumed,
    Connection,
    ConnectionRequests,
    Aborted,
    /// The text with this number, as it came.
    Text(usize),
}

/// The names of values in templates, with what they stand for.
const NAMES: [(&str, Name); 30] = [
    ("client", Name::Value(Value::Client)),
    ("user", Name::Text(Text::User)),
    ("time", Name::Value(Value::Time)),
    ("time_iso", Name::Value(Value::TimeIso)),
    ("msec", Name::Value(Value::Msec)),
    ("request", Name::Value(Value::Request)),
    ("method", Name::Value(Value::Method)),
    ("target", Name::Value(Value::Target)),
    ("path", Name::Value(Value::Path)),
    ("query", Name::Value(Value::Query)),
    ("protocol", Name::Value(Value::Protocol)),
    ("status", Name::Value(Value::Status)),
    ("body_bytes", Name::Value(Value::BodyBytes)),
    ("sent", Name::Value(Value::Sent)),
    ("duration", Name::Value(Value::Duration)),
    ("duration_us", Name::Value(Value::DurationUs)),
    ("listener", Name::Value(Value::Listener)),
    ("coding", Name::Value(Value::Coding)),
    ("cache", Name::Value(Value::Cache)),
    ("scheme", Name::Value(Value::Scheme)),
    ("tls", Name::Value(Value::Tls)),
    ("tls_cipher", Name::Value(Value::TlsCipher)),
    ("tls_resumed", Name::Value(Value::TlsResumed)),
    ("connection", Name::Value(Value::Connection)),
    ("connection_requests", Name::Value(Value::ConnectionRequests)),
    ("aborted", Name::Value(Value::Aborted)),
    ("host", Name::Text(Text::Host)),
    ("referer", Name::Text(Text::Referer)),
    ("agent", Name::Text(Text::Agent)),
    ("site", Name::Text(Text::Site)),
];

#[derive(Debug)]
enum Name {
    Value(Value),
    Text(Text),
}

/// Why a template is not a format.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FormatError {
    /// There is no value with this name.
    Unknown(String),
    /// A brace is not closed, or nothing was opened; `{{` and `}}` stand for braces.
    Brace,
    /// `{>Name}` names no field.
    FieldName(String),
    /// The field has passwords.
    Secret(String),
    /// There are more than eight fields of the request.
    TooManyFields,
    /// The template has more than 4096 bytes.
    TooLong,
    /// The template contains a line end or another control character.
    Control,
    /// It is neither the name of a format nor a template: it has no values.
    Empty,
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no value {{{name}}}"),
            Self::Brace => write!(f, "a brace has no counterpart; write {{{{ or }}}} for a brace"),
            Self::FieldName(name) => {
                write!(f, "{name:?} is not the name of a field; write {{>Name}} as in {{>Accept}}")
            }
            Self::Secret(name) => {
                write!(
                    f,
                    "{name} has passwords, which no log may have; {{user}} is the name of the user"
                )
            }
            Self::TooManyFields => write!(f, "at most {FIELDS_MAX} fields of a request are logged"),
            Self::TooLong => write!(f, "a template has at most {TEMPLATE_BYTES_MAX} bytes"),
            Self::Control => write!(f, "a template is one line, without control characters"),
            Self::Empty => {
                write!(f, "it must be combined, common, json, or a template with values in braces")
            }
        }
    }
}

impl std::error::Error for FormatError {}

impl LogFormat {
    /// The format of nginx and Apache with this name.
    #[must_use]
    pub fn common() -> Self {
        Self { layout: Layout::Common, texts: vec![Text::Request, Text::User], needs_coding: false }
    }

    /// The same, with `Referer` and `User-Agent`.
    #[must_use]
    pub fn combined() -> Self {
        let texts = vec![Text::Request, Text::User, Text::Referer, Text::Agent];
        Self { layout: Layout::Combined, texts, needs_coding: false }
    }

    /// A JSON object per line.
    #[must_use]
    pub fn json() -> Self {
        let texts = [Text::Request, Text::User, Text::Host, Text::Site, Text::Referer, Text::Agent];
        Self { layout: Layout::Json, texts: texts.into(), needs_coding: true }
    }

    /// The format that a text names or describes: `common`, `combined`, `json` or a template.
    ///
    /// # Errors
    ///
    /// If the template is malformed.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        match text {
            "common" => Ok(Self::common()),
            "combined" => Ok(Self::combined()),
            "json" => Ok(Self::json()),
            template => Self::template(template),
        }
    }

    /// The names of all values of a template.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// A line with values for the names in braces.
    fn template(template: &str) -> Result<Self, FormatError> {
        if template.len() > TEMPLATE_BYTES_MAX {
            return Err(FormatError::TooLong);
        }
        if template.chars().any(char::is_control) {
            return Err(FormatError::Control);
        }
        let (layout, texts) = (Layout::Template(Vec::new()), Vec::new());
        let mut format = Self { layout, texts, needs_coding: false };
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), template);
        while let Some(at) = rest.find(['{', '}']) {
            literal.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
                literal.push_str(&rest[..1]);
                rest = after;
                continue;
            }
            let inner = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let (name, after) = inner.ok_or(FormatError::Brace)?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into_bytes().into()));
            }
            pieces.push(Piece::Value(format.value(name)?));
            rest = after;
        }
        if pieces.is_empty() {
            return Err(FormatError::Empty);
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal.into_bytes().into()));
        format.layout = Layout::Template(pieces);
        Ok(format)
    }

    /// The value with a name. If it is a text, lines need it from now on.
    fn value(&mut self, name: &str) -> Result<Value, FormatError> {
        if let Some(field) = name.strip_prefix('>') {
            // RFC 9110, section 5.6.2.
            let is_token =
                |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            if field.is_empty() || !field.bytes().all(is_token) {
                return Err(FormatError::FieldName(field.to_owned()));
            }
            let lower = field.to_ascii_lowercase();
            if SECRET.contains(&&*lower) {
                return Err(FormatError::Secret(field.to_owned()));
            }
            let number = self.need(Text::Field(lower.into()));
            let is_field = |text: &&Text| matches!(text, Text::Field(_));
            return match self.texts.iter().filter(is_field).count() {
                count if count > FIELDS_MAX => Err(FormatError::TooManyFields),
                _ => Ok(Value::Text(number)),
            };
        }
        let named = NAMES.iter().find(|(known, _)| *known == name);
        let (_, named) = named.ok_or_else(|| FormatError::Unknown(name.to_owned()))?;
        Ok(match named {
            Name::Text(text) => Value::Text(self.need(text.clone())),
            Name::Value(value) => {
                use Value::{Method, Path, Protocol, Query, Request, Target};
                self.needs_coding |= *value == Value::Coding;
                if matches!(value, Request | Method | Target | Path | Query | Protocol) {
                    self.need(Text::Request);
                }
                *value
            }
        })
    }

    /// The number of a text, which lines need from now on.
    fn need(&mut self, text: Text) -> usize {
        self.texts.iter().position(|known| *known == text).unwrap_or_else(|| {
            self.texts.push(text);
            self.texts.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_consist_of_literals_and_values() {
        let format = LogFormat::parse("{{{method} {path}}} {>X-Id} {agent}{>x-id}").unwrap();
        let literal = |text: &str| Piece::Literal(text.as_bytes().into());
        let pieces = vec![
            literal("{"),
            Piece::Value(Value::Method),
            literal(" "),
            Piece::Value(Value::Path),
            literal("} "),
            Piece::Value(Value::Text(1)),
            literal(" "),
            Piece::Value(Value::Text(2)),
            Piece::Value(Value::Text(1)),
            literal(""),
        ];
        assert_eq!(format.layout, Layout::Template(pieces));
        assert_eq!(format.texts, [Text::Request, Text::Field("x-id".into()), Text::Agent]);
    }

    #[test]
    fn every_name_can_be_used() {
        for name in LogFormat::names() {
            LogFormat::parse(&format!("{{{name}}}")).unwrap();
        }
    }

    #[test]
    fn malformed_templates_are_refused() {
        let too_many: String = (0..=FIELDS_MAX).map(|number| format!("{{>X-{number}}}")).collect();
        for (template, error) in [
            ("", FormatError::Empty),
            ("combine", FormatError::Empty),
            ("{statu}", FormatError::Unknown("statu".into())),
            ("{Status}", FormatError::Unknown("Status".into())),
            ("{}", FormatError::Unknown(String::new())),
            ("{status", FormatError::Brace),
            ("{status}}", FormatError::Brace),
            ("}{status}", FormatError::Brace),
            ("{>}", FormatError::FieldName(String::new())),
            ("{>a b}", FormatError::FieldName("a b".into())),
            ("{>Authorization}", FormatError::Secret("Authorization".into())),
            ("{status}\n", FormatError::Control),
            (&too_many, FormatError::TooManyFields),
            (&"{status}".repeat(600), FormatError::TooLong),
        ] {
            assert_eq!(LogFormat::parse(template), Err(error), "{template}");
        }
    }
}
