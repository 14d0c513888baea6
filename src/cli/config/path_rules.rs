//! Reads redirects and rewrites of a site.

use toml::de::{DeTable, DeValue};

use super::keys::Table;
use super::problem::Problem;
use super::reader::{Node, Reader, decimal};
use super::setting::Sourced;
use crate::http::site::rewrites::PathRule;

/// The keys of a rule. One that was wrong is a problem already.
#[derive(Default)]
struct PathRuleDraft {
    from: Option<String>,
    to: Option<String>,
    status: Option<u16>,
    force: Option<bool>,
    navigations: Option<bool>,
}

impl Reader<'_> {
    /// Reads the rules of `redirect` and `rewrite`, and keeps them in the order of the file.
    /// Returns whether the key is one of them.
    pub(super) fn path_rule_key(
        &mut self,
        key: &str,
        node: &Node<'_>,
        rules: &mut Vec<Sourced<PathRule>>,
    ) -> bool {
        let table = match key {
            "redirect" => Table::Redirect,
            "rewrite" => Table::Rewrite,
            _ => return false,
        };
        self.many(table, node, |reader, node, content| {
            rules.extend(reader.path_rule(table, node, content));
        });
        rules.sort_by_key(|rule| rule.origin.place().map(|place| place.start));
        true
    }

    fn path_rule(
        &mut self,
        table: Table,
        node: &Node<'_>,
        content: &DeTable<'_>,
    ) -> Option<Sourced<PathRule>> {
        let before = self.problems.len();
        let mut draft = PathRuleDraft::default();
        for (name, node) in content {
            match (&**name.get_ref(), table) {
                ("from", _) => draft.from = self.text("from", node).map(|text| text.value),
                ("to", _) => draft.to = self.text("to", node).map(|text| text.value),
                ("status", _) => draft.status = self.path_rule_status(node),
                ("force", _) => draft.force = self.switch("force", node).map(|it| it.value),
                ("navigations", Table::Rewrite) => {
                    draft.navigations = self.switch("navigations", node).map(|it| it.value);
                }
                (other, _) => self.complain_of_key(table, name.span(), other),
            }
        }
        for key in ["from", "to"].into_iter().filter(|key| !content.contains_key(*key)) {
            let title = format!("a {} has no `{key}`", table.heading());
            let remedy = "write both, as in from = \"/old/*\" and to = \"/new/:splat\"";
            self.complain(node.span(), title, remedy);
        }
        if self.problems.len() > before {
            return None;
        }
        let PathRuleDraft { from, to, status, force, navigations } = draft;
        let (from, to) = (from?, to?);
        let rule = match table {
            Table::Redirect => PathRule::redirect(&from, &to, status, force),
            _ => PathRule::rewrite(&from, &to, status, force, navigations),
        };
        let place = self.place(node.span());
        match rule {
            Ok(rule) => Some(self.sourced(node.span(), rule, Vec::new())),
            Err(error) => {
                let what = if table == Table::Redirect { "redirect" } else { "rewrite" };
                let title = format!("this {what} cannot be used");
                self.problems.push(Problem::new(Some(&place), title, error.to_string()));
                None
            }
        }
    }

    /// A status code. Which ones a rule may have is checked with the whole rule.
    fn path_rule_status(&mut self, node: &Node<'_>) -> Option<u16> {
        let status = match node.get_ref() {
            DeValue::Integer(number) => decimal(number).parse().ok(),
            _ => None,
        };
        if status.is_none() {
            self.complain_of_type("status", node, "a status code such as 301");
        }
        status
    }
}
