//! Reloads in worlds of HTTP: the tables of sites that the server was sent, and which of them may
//! have answered.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use ringd::driver::sim::Files;
use ringd::http::site::rules::Rules;
use ringd::http::{Content, SiteSettings, SiteTable};

use crate::answer::Answer;
use crate::client::Client;
use crate::world::Conditions;

/// The field with the number of the settings, in all answers of the site that clients want.
pub(crate) const SETTINGS: &str = "x-settings";

/// The tables that the server was sent; empty if it has one site without rules.
#[derive(Default, Debug)]
pub(crate) struct Tables(Vec<Table>);

#[derive(Clone, Copy, Debug)]
struct Table {
    from: Duration,
    /// The settings of the site that clients want.
    settings: usize,
}

impl Tables {
    /// The first of several tables.
    pub(crate) fn with_reloads() -> Self {
        Self(vec![Table { from: Duration::ZERO, settings: 0 }])
    }

    /// The table that was sent last.
    pub(crate) fn present(&self, files: &Files) -> Arc<SiteTable> {
        match self.0.last() {
            Some(last) => sites(self.0.len(), last.settings, files),
            None => SiteSettings::new(files.root()).into(),
        }
    }

    /// Another table, unless there are no reloads.
    pub(crate) fn next(
        &mut self,
        random: &mut Rng,
        now: Duration,
        files: &Files,
    ) -> Option<Arc<SiteTable>> {
        // Some tables differ only in another site.
        let settings = self.0.last()?.settings + random.usize(..2);
        self.0.push(Table { from: now, settings });
        Some(self.present(files))
    }

    /// Checks that a site has answered whose settings were in use while the client was there.
    /// Returns whether they are not the first ones.
    pub(crate) fn judge(&self, answer: &Answer, client: &Client, conditions: &Conditions) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let Some(settings) = answer.field(SETTINGS) else {
            panic!("no site has answered: {answer:?}")
        };
        let settings: usize = settings.parse().unwrap();
        let until = self.0.iter().skip(1).map(|next| next.from).chain([Duration::MAX]);
        let was_in_use = self.0.iter().zip(until).any(|(table, until)| {
            let seen = until.saturating_add(conditions.slack()) >= client.started;
            table.settings == settings && seen && table.from <= client.ended_at
        });
        assert!(was_in_use, "{settings} of {:?}: {client:?}", self.0);
        settings > 0
    }
}

/// A table with the site that all clients want, and with another one that differs in each
/// generation.
fn sites(generation: usize, settings: usize, files: &Files) -> Arc<SiteTable> {
    let rule = |value| vec![format!("**=X-Settings: {value}").parse().unwrap()];
    let site = |name: &str, value| SiteSettings {
        name: name.to_owned(),
        hosts: vec![format!("{name}.example").parse().unwrap()],
        is_default: name == "wanted",
        content: Content {
            rules: Rules::new(Vec::new(), rule(value), false).unwrap(),
            ..Content::default()
        },
        ..SiteSettings::new(files.root())
    };
    let mut sites = [site("wanted", settings), site("other", generation)].map(Arc::new);
    sites.rotate_left(generation % 2);
    Arc::new(SiteTable::new(generation as u64, sites.into()).unwrap())
}
