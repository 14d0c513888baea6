//! Reads `fallback-root`: a second directory for files that the root of a site does not have.

use std::path::Path;

use toml::de::DeValue;

use super::draft::FallbackDraft;
use super::keys::Table;
use super::problem::{Problem, quoted};
use super::reader::{Node, Reader};
use super::setting::Sourced;
use crate::http::FileGlobs;
use crate::http::site::rules::RULES_MAX;

/// The form of the value.
const EXPECTED: &str = "a table such as { path = \"/srv/previous\", only = [\"/assets/**\"] }";

impl Reader<'_> {
    /// Reads the value of `fallback-root`.
    pub(super) fn fallback_root(
        &mut self,
        node: &Node<'_>,
        directory: &Path,
    ) -> Option<FallbackDraft> {
        let DeValue::Table(table) = node.get_ref() else {
            self.complain_of_type("fallback-root", node, EXPECTED);
            return None;
        };
        let (mut path, mut only) = (None, None);
        for (name, node) in table {
            match &**name.get_ref() {
                "path" => path = self.text("path", node),
                "only" => only = self.texts("only", node),
                other => self.complain_of_key(Table::FallbackRoot, name.span(), other),
            }
        }
        for name in ["path", "only"] {
            if !table.contains_key(name) {
                let title = format!("`fallback-root` has no `{name}`");
                self.complain(node.span(), title, format!("write {EXPECTED}"));
            }
        }
        let (path, only) = (path?, only?);
        if path.value.is_empty() {
            self.complain(node.span(), "`path` is empty", "name a directory");
            return None;
        }
        if only.is_empty() {
            let remedy = "name files, as in only = [\"/assets/**\"], or leave `fallback-root` out";
            self.complain(node.span(), "`only` has no value", remedy);
        }
        for Sourced { value, origin } in &only {
            if let Err(error) = FileGlobs::new(std::slice::from_ref(value)) {
                let title = format!("`only` cannot have {}", quoted(value));
                self.problems.push(Problem::new(origin.place(), title, error.to_string()));
            }
        }
        if only.len() > RULES_MAX {
            let remedy = format!("at most {RULES_MAX} globs are allowed; merge some by {{a,b}}");
            self.complain(node.span(), "`only` has too many values", remedy);
        }
        let path = Sourced { value: directory.join(path.value), origin: path.origin };
        Some(FallbackDraft { path, only })
    }
}
