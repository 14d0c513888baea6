//! Why a rule is refused, and what to do about it.

use std::fmt;

/// Why a rule cannot be used. The text names the cause and the remedy, but no option of the
/// command line, since rules may come from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleError {
    /// There is no equals sign after the glob.
    NoEqualsSign(RuleForm),
    /// There is nothing before the equals sign.
    NoGlob(RuleForm),
    /// There is a directive of `Cache-Control` in place of the glob.
    DirectiveWithoutGlob(&'static str, RuleForm),
    /// The glob is longer than its limit.
    GlobTooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The glob violates the grammar of globs.
    MalformedGlob {
        /// The glob as it was given.
        glob: String,
        /// What is wrong with it.
        cause: globset::ErrorKind,
    },
    /// The value is not a list of cache directives.
    MalformedDirective,
    /// There is no colon after the name of the field.
    NoColon,
    /// The name of the field is not a token.
    MalformedName,
    /// Rules must not set this field.
    Reserved {
        /// The field.
        name: &'static str,
        /// What sets it instead.
        owner: FieldOwner,
    },
    /// The value has a character that a field cannot have.
    ForbiddenCharacter(char),
    /// There are more rules of one kind than the limit.
    TooMany {
        /// The limit.
        rules_max: usize,
    },
    /// The globs of all rules together are too large to be compiled.
    GlobsTooComplex(globset::Error),
    /// All rules together could add more to a response than the limit.
    TooLong {
        /// What they could add.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEqualsSign(form) => write!(f, "there is no equals sign; {form}"),
            Self::NoGlob(form) => write!(f, "there is no glob; {form}"),
            Self::DirectiveWithoutGlob(directive, form) => {
                write!(f, "there is no glob before {directive}; {form}")
            }
            Self::GlobTooLong { bytes_max } => {
                write!(f, "a glob has at most {bytes_max} bytes; use wildcards")
            }
            Self::MalformedGlob { glob, cause } => write!(
                f,
                "the glob {glob} is malformed: {cause}; put a backslash before *, ?, [, {{ and }}"
            ),
            Self::MalformedDirective => {
                let form = RuleForm::Cache;
                write!(f, "the value is not like no-cache or max-age=60; {form}")
            }
            Self::NoColon => write!(f, "there is no colon after the name; {}", RuleForm::Header),
            Self::MalformedName => {
                let form = RuleForm::Header;
                write!(f, "a name has letters, digits and hyphens only; {form}")
            }
            Self::Reserved { name, owner } => {
                write!(f, "{name} cannot be set by a header rule; {owner}")
            }
            Self::ForbiddenCharacter(character) => {
                write!(f, "the value has the character {character:?}; use printable ASCII only")
            }
            Self::TooMany { rules_max } => {
                write!(f, "there may be {rules_max} rules of a kind; merge some by {{a,b}}")
            }
            Self::GlobsTooComplex(cause) => {
                write!(f, "the globs are too complex: {cause}; simplify them")
            }
            Self::TooLong { bytes, bytes_max } => write!(
                f,
                "the rules could add {bytes} bytes to a response, and {bytes_max} are allowed; \
                 shorten them"
            ),
        }
    }
}

impl std::error::Error for RuleError {}

/// How a rule is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleForm {
    /// A rule for `Cache-Control`.
    Cache,
    /// A rule for another field.
    Header,
    /// A glob alone.
    Files,
}

impl fmt::Display for RuleForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cache => "write GLOB=VALUE, as in '/assets/**=max-age=31536000, immutable'",
            Self::Header => "write GLOB=NAME:VALUE, as in '*.html=X-Frame-Options: DENY'",
            Self::Files => "write one, as in '/assets/**'",
        })
    }
}

/// What sets a field that rules must not set. Its text says what to do instead of a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldOwner {
    /// The server, in the responses that need the field.
    Server,
    /// The server, in every response.
    EveryResponse,
    /// Rules for `Cache-Control`.
    CacheRules,
    /// The media types of the site.
    MediaTypes,
    /// The compressed files beside a plain one.
    CompressedFiles,
}

impl fmt::Display for FieldOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "leave it out: ringd itself sets it where it belongs",
            Self::EveryResponse => "leave it out: every response has it already",
            Self::CacheRules => "use a cache rule",
            Self::MediaTypes => "choose the media type by the name of the file",
            Self::CompressedFiles => {
                "keep the compressed file beside the plain one, as in app.js.gz, or name the files \
                 that are compressed"
            }
        })
    }
}
