//! A new table of sites, while lookups run and results are cached.

use super::*;
use crate::http::SiteTable;

/// Settings of sites by name, each with a folder of its own as root, with `page.txt` in it.
fn site(folder: &TempDir, name: &str) -> SiteSettings {
    let path = folder.path().join(name);
    if !path.exists() {
        fs::create_dir(&path).unwrap();
        write_page(&path, "page.txt", 10_000);
        write_page(&path, "other.txt", 10_000);
    }
    let hosts = vec![format!("{name}.example").parse().unwrap()];
    SiteSettings {
        name: name.to_owned(),
        hosts,
        is_default: false,
        ..SiteSettings::new(open_root(&path))
    }
}

fn listed(site: SiteSettings) -> SiteSettings {
    let content = Content { listing: true, ..site.content };
    SiteSettings { content, ..site }
}

fn table<const N: usize>(generation: u64, sites: [SiteSettings; N]) -> Arc<SiteTable> {
    Arc::new(SiteTable::new(generation, sites.into_iter().map(Arc::new).collect()).unwrap())
}

fn serving(table: Arc<SiteTable>) -> TestSite {
    let (revalidate_after, cache_idle) = (HOUR, 3 * HOUR);
    TestSite::new(HttpSettings { revalidate_after, cache_idle, ..HttpSettings::new(table) })
}

impl TestSite {
    fn renew(&mut self, table: Arc<SiteTable>) {
        self.sites.receive(self.now, SitesMessage::Table(table, Duration::MAX));
        self.poll();
    }

    /// The place of the site of a host.
    fn place(&self, name: &str) -> usize {
        self.sites.settings.sites.find(0, format!("{name}.example").as_bytes()).unwrap()
    }

    /// Asks for a file of a site.
    fn ask_site(&mut self, name: &str, path: &[u8]) -> Result<Resolved, WaitingSession> {
        let (place, name) = (self.place(name), ResourceName::Target { path, directory: false });
        let found = self.find_at(place, std::net::Ipv4Addr::LOCALHOST.into(), &name);
        self.poll();
        found
    }

    fn is_cached(&mut self, name: &str, path: &[u8]) -> bool {
        match self.ask_site(name, path) {
            Ok(_) => true,
            Err(waiting) => {
                self.leave(waiting);
                false
            }
        }
    }
}

#[test]
fn unchanged_sites_keep_their_results_and_their_lookups() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| site(&folder, name));
    let mut sites = serving(table(1, [a.clone(), b.clone()]));
    for name in ["a", "b"] {
        assert!(sites.ask_site(name, b"page.txt").is_err());
    }
    sites.settle();
    let [running_a, running_b] =
        ["a", "b"].map(|name| sites.ask_site(name, b"other.txt").unwrap_err());
    // Another order, and a site that is new. The root of `b` is opened anew, as reloads do.
    let b = SiteSettings { root: site(&folder, "b").root, hosts: site(&folder, "b").hosts, ..b };
    sites.renew(table(2, [site(&folder, "c"), b, listed(a)]));
    assert!(matches!(sites.told(running_a), Some(Resolved::Renewed)));
    assert!(sites.told(running_b).is_none());
    assert_eq!(sites.cancelled.len(), AT_ONCE);
    assert!(sites.is_cached("b", b"page.txt"));
    assert!(!sites.is_cached("a", b"page.txt"));
    sites.settle();
    assert!(matches!(sites.told(running_b), Some(Resolved::Resource(_))));
    assert!(sites.is_cached("b", b"other.txt") && !sites.is_cached("a", b"other.txt"));
}

/// A table may arrive twice, or after a later one.
#[test]
fn an_older_table_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut sites = serving(table(5, [site(&folder, "a"), site(&folder, "b")]));
    for generation in [4, 5] {
        sites.renew(table(generation, [site(&folder, "b"), site(&folder, "c")]));
        assert_eq!(sites.place("a"), 0);
    }
    sites.renew(table(6, [site(&folder, "b"), site(&folder, "c")]));
    assert_eq!(sites.place("c"), 1);
}

/// Entries of sites that are gone are removed, though no request asks for them, and the numbers of
/// the sites can be used again.
#[test]
fn nothing_is_left_of_sites_that_are_gone() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| site(&folder, name));
    let mut sites = serving(table(1, [a.clone(), b.clone()]));
    for generation in 2..200 {
        assert!(sites.ask_site("a", b"page.txt").is_err());
        assert!(sites.ask_site("a", b"other.txt").is_err());
        sites.settle();
        assert_eq!(sites.sites.cache_stats().entries, 2);
        assert_eq!(sites.sites.open_files().count(), 2);
        // The sessions have sent what they were told.
        sites.told.clear();
        let a = if generation % 2 == 0 { listed(a.clone()) } else { a.clone() };
        sites.renew(table(generation, [a, b.clone()]));
        while sites.sites.deadline().is_some_and(|deadline| deadline <= sites.now.instant) {
            sites.poll();
        }
        assert_eq!(sites.sites.cache_stats().entries, 0);
        assert_eq!(sites.sites.open_files().count(), 0);
    }
}

/// All numbers were used several times.
#[test]
fn numbers_of_sites_do_not_run_out() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| site(&folder, name));
    let tables = [[a.clone(), b.clone()], [listed(a), listed(b)]];
    let mut sites = serving(table(1, tables[0].clone()));
    for generation in 2..if cfg!(miri) { 10 } else { 40_000 } {
        sites.renew(table(generation, tables[generation as usize % 2].clone()));
    }
    assert!(sites.ask_site("b", b"page.txt").is_err());
    sites.settle();
    assert!(sites.is_cached("b", b"page.txt"));
}

/// The question for the root of a site has no reply yet when the site goes. The reply must not
/// reach another site, and no other site asks the same question meanwhile.
#[test]
fn the_reply_for_the_root_of_a_site_that_is_gone_is_ignored() {
    let (folder, settings) = releases();
    let old = SiteSettings::clone(&settings.sites.sites()[0]);
    let mut sites = TestSite::new(settings);
    let waiting = sites.ask(b"page.txt");
    let (id, ask) = sites.open.remove(0);
    let reply = perform(ask);
    let mut tables = [listed(old.clone()), old].into_iter().cycle();
    for generation in 2..40_000 {
        sites.renew(table(generation, [tables.next().unwrap()]));
    }
    assert!(matches!(sites.told(waiting), Some(Resolved::Renewed)));
    assert_eq!(sites.cancelled, [id]);
    deploy(folder.path(), "two");
    sites.reply(id, reply);
    assert_eq!(length(sites.look_up(b"page.txt")), 20_000);
}

/// A site may get the root back that it has now, after its link has been turned since the start.
#[test]
fn a_site_is_compared_with_the_root_that_it_serves_now() {
    let (folder, settings) = releases();
    let settings = HttpSettings { revalidate_after: SECOND, ..settings };
    let old = SiteSettings::clone(&settings.sites.sites()[0]);
    let mut sites = TestSite::new(settings);
    sites.look_up(b"page.txt");
    deploy(folder.path(), "two");
    sites.now.instant += SECOND;
    assert_eq!(length(sites.look_up(b"page.txt")), 20_000);
    let root = crate::http::RootDirectory(open_root(&folder.path().join("current")));
    sites.renew(table(2, [SiteSettings { root, ..old.clone() }]));
    assert!(sites.known(b"page.txt").is_some(), "the site is the same");
    sites.renew(table(3, [old]));
    assert!(sites.known(b"page.txt").is_none(), "the first release is another root");
}
