//! Variables of the environment in the strings of a configuration.
//!
//! `${NAME}` stands for the value of a variable, `${NAME:-TEXT}` for TEXT if the variable is unset
//! or empty, as in a shell, and `$$` for a dollar. They are replaced after the file has been
//! parsed, so a value can never become syntax.

use std::borrow::Cow;
use std::ffi::OsString;

/// Looks a variable up.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The variables of this process.
pub(super) fn of_process(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A text in which variables were replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded<'a> {
    pub(super) text: Cow<'a, str>,
    /// The variables whose values are in it.
    pub(super) variables: Vec<String>,
}

/// What is wrong with the variables of a text, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct VariableError {
    pub(super) mistake: String,
    pub(super) remedy: String,
}

impl VariableError {
    fn new(mistake: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { mistake: mistake.into(), remedy: remedy.into() }
    }
}

/// Replaces the variables of a text.
pub(super) fn expand<'a>(
    text: &'a str,
    environment: Environment<'_>,
) -> Result<Expanded<'a>, VariableError> {
    let mut variables = Vec::new();
    if !text.contains('$') {
        return Ok(Expanded { text: text.into(), variables });
    }
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        expanded += before;
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let alone = || VariableError::new("a dollar stands alone", "write $$ for a dollar");
        let reference = after.strip_prefix('{').ok_or_else(alone)?;
        let unclosed = || VariableError::new("a variable has no closing brace", "write ${NAME}");
        let (reference, after) = reference.split_once('}').ok_or_else(unclosed)?;
        let (name, default) = match reference.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (reference, None),
        };
        expanded += &value(name, default, environment, &mut variables)?;
        rest = after;
    }
    expanded += rest;
    Ok(Expanded { text: expanded.into(), variables })
}

fn value<'a>(
    name: &str,
    default: Option<&'a str>,
    environment: Environment<'_>,
    variables: &mut Vec<String>,
) -> Result<Cow<'a, str>, VariableError> {
    let fits = |(at, char): (usize, char)| {
        char.is_ascii_alphabetic() || char == '_' || (at > 0 && char.is_ascii_digit())
    };
    if name.is_empty() || !name.char_indices().all(fits) {
        let mistake = format!("the name of the variable is {}", super::problem::quoted(name));
        let remedy =
            "names have letters, digits and underscores; write ${NAME} or ${NAME:-default}";
        return Err(VariableError::new(mistake, remedy));
    }
    let found = environment(name);
    match (found, default) {
        (Some(found), Some(default)) if found.is_empty() => Ok(default.into()),
        (Some(found), _) => {
            variables.push(name.to_owned());
            found.into_string().map(Cow::from).map_err(|_| {
                let mistake = format!("the value of the variable {name} is not UTF-8");
                VariableError::new(mistake, "set it to a text")
            })
        }
        (None, Some(default)) => Ok(default.into()),
        (None, None) => {
            let mistake = format!("the variable {name} is not set");
            let remedy = format!("set it, or give a default: ${{{name}:-default}}");
            Err(VariableError::new(mistake, remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "PORT" => Some("80".into()),
            "_a1" => Some("${PORT}\"".into()),
            "EMPTY" => Some("".into()),
            _ => None,
        }
    }

    fn expanded(text: &str) -> Result<String, String> {
        match expand(text, &environment) {
            Ok(Expanded { text, .. }) => Ok(text.into_owned()),
            Err(VariableError { mistake, .. }) => Err(mistake),
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, wanted) in [
            ("", ""),
            ("plain }{", "plain }{"),
            ("${PORT}", "80"),
            ("a${PORT}b${PORT:-1}c", "a80b80c"),
            ("${NONE:-}${NONE:-${x}", "${x"),
            ("${EMPTY}${EMPTY:-x:-y}", "x:-y"),
            ("${_a1}", "${PORT}\""),
            ("$$", "$"),
            ("$${PORT}$$$$", "${PORT}$$"),
        ] {
            assert_eq!(expanded(text).as_deref(), Ok(wanted), "{text}");
        }
        let Ok(Expanded { variables, .. }) = expand("${PORT}${NONE:-x}", &environment) else {
            panic!()
        };
        assert_eq!(variables, ["PORT"]);
    }

    #[test]
    fn a_wrong_reference_is_explained() {
        for (text, mistake) in [
            ("$PORT", "a dollar stands alone"),
            ("5 $", "a dollar stands alone"),
            ("${PORT", "a variable has no closing brace"),
            ("${}", "the name of the variable is \"\""),
            ("${1a}", "the name of the variable is \"1a\""),
            ("${a b}", "the name of the variable is \"a b\""),
            ("${NONE}", "the variable NONE is not set"),
        ] {
            assert_eq!(expanded(text), Err(mistake.to_owned()), "{text}");
        }
    }
}
