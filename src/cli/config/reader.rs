//! Reads values out of a parsed file, and collects the mistakes in them.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::keys::{Key, Kind, Table, explain_unknown, find, of_flag};
use super::parse::Parsers;
use super::problem::{Problem, ProblemList, quoted};
use super::setting::{Origin, Settings, Sourced, Value};
use super::source::{Place, Sources};
use super::variables::{Environment, VariableError, expand};

/// A value in a file.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// What reading needs and yields, for all files together.
pub(super) struct Reader<'a> {
    pub(super) sources: Sources,
    pub(super) problems: ProblemList,
    /// Whether a root that cannot be served is a problem.
    pub(super) opens_roots: bool,
    /// Whether a Unix socket that cannot be made is a problem.
    pub(super) looks_at_sockets: bool,
    environment: Environment<'a>,
    parsers: Parsers,
    /// The file that is read.
    pub(super) file: usize,
    /// Whether that file has syntax errors.
    pub(super) has_syntax_errors: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(environment: Environment<'a>) -> Self {
        Self {
            sources: Sources::default(),
            problems: ProblemList::default(),
            opens_roots: false,
            looks_at_sockets: false,
            environment,
            parsers: Parsers::new(),
            file: 0,
            has_syntax_errors: false,
        }
    }

    /// Adds a file; the places that follow are in it.
    pub(super) fn begin(&mut self, path: std::path::PathBuf, text: Arc<str>) -> usize {
        self.file = self.sources.add(path, text);
        self.file
    }

    /// The parsers, for the values of several files together.
    pub(super) fn parsers(&mut self) -> &mut Parsers {
        &mut self.parsers
    }

    /// A range of the file that is read.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.file, span)
    }

    /// Adds a problem in the file that is read.
    pub(super) fn complain(
        &mut self,
        span: Range<usize>,
        title: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let place = self.place(span);
        self.problems.push(Problem::new(Some(&place), title, remedy));
    }

    /// A value has the wrong type.
    pub(super) fn complain_of_type(&mut self, name: &str, node: &Node<'_>, expected: &str) {
        let found = match node.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let remedy = format!("write {expected}");
        self.complain(node.span(), format!("`{name}` cannot be {found}"), remedy);
    }

    /// A key that the table does not have.
    pub(super) fn complain_of_key(&mut self, table: Table, span: Range<usize>, name: &str) {
        let (title, remedy) = explain_unknown(table, name);
        self.complain(span, title, remedy);
    }

    pub(super) fn sourced<T>(
        &self,
        span: Range<usize>,
        value: T,
        variables: Vec<String>,
    ) -> Sourced<T> {
        Sourced { value, origin: Origin::File { place: self.place(span), variables } }
    }

    /// The text of a string, with its variables replaced.
    fn expanded(&mut self, text: &str, span: Range<usize>) -> Option<Sourced<String>> {
        match expand(text, self.environment) {
            Ok(expanded) => {
                Some(self.sourced(span, expanded.text.into_owned(), expanded.variables))
            }
            Err(VariableError { mistake, remedy }) => {
                self.complain(span, mistake, remedy);
                None
            }
        }
    }

    /// A value that must be a text.
    pub(super) fn text(&mut self, name: &str, node: &Node<'_>) -> Option<Sourced<String>> {
        match node.get_ref() {
            DeValue::String(text) => self.expanded(text, node.span()),
            _ => {
                self.complain_of_type(name, node, "a text in quotation marks");
                None
            }
        }
    }

    /// A value that must be a text or a list of texts. `None` if it is something else.
    pub(super) fn texts(&mut self, name: &str, node: &Node<'_>) -> Option<Vec<Sourced<String>>> {
        match node.get_ref() {
            DeValue::Array(nodes) => {
                Some(nodes.iter().filter_map(|node| self.text(name, node)).collect())
            }
            DeValue::String(_) => self.text(name, node).map(|text| vec![text]),
            _ => {
                self.complain_of_type(name, node, "a list of texts");
                None
            }
        }
    }

    /// A value that must be true or false.
    pub(super) fn switch(&mut self, name: &str, node: &Node<'_>) -> Option<Sourced<bool>> {
        match node.get_ref() {
            DeValue::Boolean(is_on) => Some(self.sourced(node.span(), *is_on, Vec::new())),
            _ => {
                self.complain_of_type(name, node, "true or false");
                None
            }
        }
    }

    /// Reads the value of an option, or complains that the table has no such key.
    pub(super) fn option(
        &mut self,
        table: Table,
        (name, span): (&str, Range<usize>),
        node: &Node<'_>,
        settings: &mut Settings,
    ) {
        match find(table, name) {
            None => self.complain_of_key(table, span, name),
            Some(key) => {
                if is_empty(node) {
                    self.complain_of_empty(key, node.span());
                }
                let values = match key.kind {
                    Kind::Rules(shape) => self.rules(key, shape, node),
                    _ => self.values(key, node),
                };
                settings.set(key, values);
            }
        }
    }

    /// Refuses an empty list where the default has values: the default would apply, and who writes
    /// such a list expects no value at all.
    fn complain_of_empty(&mut self, key: &Key, span: Range<usize>) {
        let default = key.default.as_deref().or_else(|| key.described_default());
        // Rules add to the defaults, however many there are.
        let is_plain = key.is_list && !matches!(key.kind, Kind::Rules(_));
        if let Some(default) = default.filter(|_| is_plain) {
            let name = &key.name;
            let remedy = format!("add one, or leave `{name}` out for the default, {default}");
            self.complain(span, format!("`{name}` has no value"), remedy);
        }
    }

    /// The values of an option that has no rules.
    fn values(&mut self, key: &'static Key, node: &Node<'_>) -> Vec<Sourced<Value>> {
        match node.get_ref() {
            DeValue::Array(nodes) if key.is_list => {
                nodes.iter().filter_map(|node| self.value(key, node)).collect()
            }
            _ => self.value(key, node).into_iter().collect(),
        }
    }

    fn value(&mut self, key: &'static Key, node: &Node<'_>) -> Option<Sourced<Value>> {
        let is_number = matches!(key.kind, Kind::Number | Kind::Size);
        match node.get_ref() {
            DeValue::Boolean(is_on) if key.kind == Kind::Switch || key.may_be_true => {
                Some(self.sourced(node.span(), Value::Switch(*is_on), Vec::new()))
            }
            DeValue::String(text) if key.kind != Kind::Switch => {
                let Sourced { value, origin } = self.expanded(text, node.span())?;
                self.check(key, &value, quoted(&value), node.span())?;
                Some(Sourced { value: Value::Text(value), origin })
            }
            DeValue::Integer(number) if is_number => {
                let text = decimal(number);
                self.check(key, &text, text.clone(), node.span())?;
                Some(self.sourced(node.span(), Value::Text(text), Vec::new()))
            }
            _ => {
                self.complain_of_type(&key.name, node, &key.expected());
                None
            }
        }
    }

    /// Checks a text with the parser of the flag. Messages show it as `shown`.
    fn check(&mut self, key: &Key, text: &str, shown: String, span: Range<usize>) -> Option<()> {
        let checked = self.parsers.check(key, text);
        let title = || format!("`{}` cannot be {shown}", key.name);
        checked.map_err(|remedy| self.complain(span, title(), remedy)).ok()
    }

    /// An address of a `[[listen]]`.
    pub(super) fn check_address(&mut self, address: &Sourced<String>) {
        let Origin::File { place, .. } = &address.origin else { return };
        if let Err(remedy) = self.parsers.check(of_flag("listen"), &address.value) {
            let title = format!("`address` cannot be {}", quoted(&address.value));
            self.problems.push(Problem::new(Some(place), title, remedy));
        }
    }
}

pub(super) fn is_empty(node: &Node<'_>) -> bool {
    matches!(node.get_ref(), DeValue::Array(nodes) if nodes.is_empty())
}

/// A number as a flag takes it.
pub(super) fn decimal(number: &DeInteger<'_>) -> String {
    let digits = number.as_str().replace('_', "");
    match i128::from_str_radix(&digits, number.radix()) {
        Ok(number) => number.to_string(),
        Err(_) => digits,
    }
}
