//! Reads the rules of a site, which are texts or tables.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::keys::{Key, RuleShape};
use super::problem::{Problem, quoted, shortened};
use super::reader::{Node, Reader};
use super::rules::{self, Rule};
use super::setting::{Sourced, Value};
use super::text::{toml_key, toml_string};

impl Reader<'_> {
    /// The rules of an option.
    pub(super) fn rules(
        &mut self,
        key: &Key,
        shape: RuleShape,
        node: &Node<'_>,
    ) -> Vec<Sourced<Value>> {
        let mut values = Vec::new();
        match node.get_ref() {
            DeValue::Array(nodes) => {
                nodes.iter().for_each(|node| self.rule(key, shape, node, &mut values));
            }
            _ => self.rule(key, shape, node, &mut values),
        }
        values
    }

    /// Adds what one element of a list says.
    fn rule(
        &mut self,
        key: &Key,
        shape: RuleShape,
        node: &Node<'_>,
        values: &mut Vec<Sourced<Value>>,
    ) {
        match (node.get_ref(), shape) {
            (DeValue::String(_), _) => {
                let Some(text) = self.text(&key.name, node) else { return };
                let written = toml_string(&text.value);
                let rule = Rule::from_text(shape, &text.value);
                self.add(key, rule, (text, written), values);
            }
            (
                DeValue::Table(table),
                RuleShape::MediaTypes | RuleShape::Codings | RuleShape::ErrorPages,
            ) => {
                for (left, right) in in_order(table) {
                    self.pair(key, shape, left.get_ref(), right, values);
                }
            }
            (DeValue::Table(table), RuleShape::CacheRules) => {
                self.cache_rule(key, table, node.span(), values);
            }
            (DeValue::Table(table), RuleShape::HeaderRules) => {
                self.header_rules(key, table, node.span(), values);
            }
            _ => self.complain_of_type(&key.name, node, shape.expected()),
        }
    }

    /// Adds a rule, or complains of it at its text.
    fn add(
        &mut self,
        key: &Key,
        rule: Result<Rule, String>,
        (text, written): (Sourced<String>, String),
        values: &mut Vec<Sourced<Value>>,
    ) {
        match rule {
            Ok(rule) => {
                let value = Value::Rule { rule, written };
                values.push(Sourced { value, origin: text.origin });
            }
            Err(remedy) => {
                let title = format!("`{}` cannot be {}", key.name, shortened(&written));
                self.problems.push(Problem::new(text.origin.place(), title, remedy));
            }
        }
    }

    /// A media type, a coding or an error page.
    fn pair(
        &mut self,
        key: &Key,
        shape: RuleShape,
        left: &str,
        right: &Node<'_>,
        values: &mut Vec<Sourced<Value>>,
    ) {
        let Some(text) = self.text(&key.name, right) else { return };
        let rule = match shape {
            RuleShape::MediaTypes => rules::media_type(left, &text.value),
            RuleShape::Codings => rules::coding(left, &text.value),
            _ => rules::error_page(left, &text.value),
        };
        let written = format!("{{ {} = {} }}", toml_key(left), toml_string(&text.value));
        self.add(key, rule, (text, written), values);
    }

    /// The glob of a rule, which is marked itself if it is malformed.
    fn glob(&mut self, node: &Node<'_>) -> Option<Sourced<String>> {
        let glob = self.text("glob", node)?;
        match rules::check_glob(&glob.value) {
            Ok(()) => Some(glob),
            Err(remedy) => {
                let title = format!("`glob` cannot be {}", quoted(&glob.value));
                self.complain(node.span(), title, remedy);
                None
            }
        }
    }

    fn cache_rule(
        &mut self,
        key: &Key,
        table: &DeTable<'_>,
        span: Range<usize>,
        values: &mut Vec<Sourced<Value>>,
    ) {
        let Some([glob, value]) = self.parts(key, table, span, ["glob", "value"]) else { return };
        let (Some(glob), Some(text)) = (self.glob(glob), self.text("value", value)) else {
            return;
        };
        let rule = rules::cache_rule(&glob.value, &text.value);
        let (glob, value) = (toml_string(&glob.value), toml_string(&text.value));
        let written = format!("{{ glob = {glob}, value = {value} }}");
        self.add(key, rule, (text, written), values);
    }

    /// One rule for each field that is set.
    fn header_rules(
        &mut self,
        key: &Key,
        table: &DeTable<'_>,
        span: Range<usize>,
        values: &mut Vec<Sourced<Value>>,
    ) {
        let Some([glob, set]) = self.parts(key, table, span, ["glob", "set"]) else { return };
        let Some(glob) = self.glob(glob) else { return };
        let DeValue::Table(fields) = set.get_ref() else {
            self.complain_of_type("set", set, "a table such as { X-Frame-Options = \"DENY\" }");
            return;
        };
        for (name, node) in in_order(fields) {
            let name = name.get_ref();
            // A list is for fields such as Link, of which there may be several lines.
            for text in self.texts(name, node).unwrap_or_default() {
                let rule = rules::header(&glob.value, name, &text.value);
                let (glob, value) = (toml_string(&glob.value), toml_string(&text.value));
                let field = format!("{} = {value}", toml_key(name));
                let written = format!("{{ glob = {glob}, set = {{ {field} }} }}");
                self.add(key, rule, (text, written), values);
            }
        }
    }

    /// The two parts of a rule; complains of others, and of one that is missing.
    fn parts<'t, 'i>(
        &mut self,
        key: &Key,
        table: &'t DeTable<'i>,
        span: Range<usize>,
        names: [&str; 2],
    ) -> Option<[&'t Node<'i>; 2]> {
        let [one, two] = names;
        for name in table.keys().filter(|name| !names.contains(&&**name.get_ref())) {
            let title = format!("unknown key {} in a rule", quoted(name.get_ref()));
            self.complain(name.span(), title, format!("its keys are `{one}` and `{two}`"));
        }
        let part = |name: &str| table.get(name);
        match (part(one), part(two)) {
            (Some(first), Some(second)) => Some([first, second]),
            (first, _) => {
                let missing = if first.is_none() { one } else { two };
                let title = format!("a rule of `{}` has no `{missing}`", key.name);
                let shape = match one {
                    _ if two == "set" => RuleShape::HeaderRules,
                    _ => RuleShape::CacheRules,
                };
                self.complain(span, title, format!("write {}", shape.expected()));
                None
            }
        }
    }
}

/// The entries of a table in the order of the file. The parser sorts them by name.
fn in_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<DeString<'i>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}
