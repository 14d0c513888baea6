//! Reads `_redirects` and `_headers` at the top of a root, and notices when they change.
//!
//! They are content, which whoever deploys a site changes without the operator: a line that cannot
//! be followed is left out with a note, and a file that cannot be read keeps the last good rules.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;

use super::{Config, SiteFilesName};
use crate::driver::{File, FileKind, Metadata};
use crate::http::Content;
use crate::http::site::SITE_FILES;
use crate::http::site::rewrites::{PathRule, PathRules};
use crate::http::site::rules::SiteHeaders;
use crate::http::site::site_files::{
    HostingService, LeftOut, SITE_FILE_BYTES_MAX, parse_headers, parse_redirects,
};

/// How many lines that are left out of a file are told.
const TOLD_MAX: usize = 20;

impl Config {
    /// Whether a site reads files of hosting services.
    pub(super) fn reads_site_files(&self) -> bool {
        self.sites.iter().any(|site| site.content.site_files != SiteFilesName::Off)
    }
}

/// What identifies a state of the files: a change of the root, or of a file, makes another one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SiteFilesStamp {
    root: (u64, u64),
    files: [Option<Metadata>; 2],
}

/// The files of a site as they were last read, and the rules that apply.
#[derive(Clone, Debug)]
struct KnownFiles {
    stamp: SiteFilesStamp,
    redirects: Vec<PathRule>,
    headers: Option<String>,
    /// What was told of them.
    problems: Vec<String>,
}

/// The files of all sites, by the names of the sites.
#[derive(Clone, Default, Debug)]
pub(super) struct KnownSiteFiles(HashMap<String, KnownFiles>);

/// The present state of the files below a root.
pub(super) fn stamp(root: &File) -> SiteFilesStamp {
    let metadata = |name: &str| Some(*open(root, name).ok()??.metadata());
    let of_root = root.metadata();
    SiteFilesStamp { root: (of_root.device, of_root.inode), files: SITE_FILES.map(metadata) }
}

/// The names of the files that are there.
pub(super) fn present(root: &File) -> Vec<&'static str> {
    let is_there = |name: &&str| matches!(open(root, name), Ok(Some(_)));
    SITE_FILES.into_iter().filter(is_there).collect()
}

impl KnownSiteFiles {
    /// Whether the files of a site have changed since they were read.
    pub(super) fn has_changed(&self, site: &str, root: &File) -> bool {
        self.0.get(site).is_none_or(|known| known.stamp != stamp(root))
    }

    /// What is told of the files of a site, unless the same was told `before`.
    pub(super) fn news(&self, before: &Self, site: &str) -> &[String] {
        let told = before.0.get(site).map(|known| &known.problems);
        let known = self.0.get(site).filter(|known| Some(&known.problems) != told);
        known.map_or(&[], |known| &known.problems)
    }

    /// Adds the rules in the files of a site to its content. The configured ones go first, and
    /// configured fields replace those of the file. Returns also what is left out of them.
    pub(super) fn add(
        &mut self,
        before: &Self,
        (site, root): (&str, &File),
        service: HostingService,
        content: Content,
    ) -> (Content, Vec<String>) {
        let mut problems = Vec::new();
        let last = before.0.get(site);
        // Before they are read: a change meanwhile is noticed later.
        let stamp = stamp(root);
        let own = content.path_rules.as_ref().map_or(&[][..], PathRules::rules);
        let redirects = redirects(root, service, own, &mut problems);
        let redirects = redirects.unwrap_or_else(|reason| {
            problems.push(kept("_redirects", &reason, last.is_some()));
            last.map(|known| known.redirects.clone()).unwrap_or_default()
        });
        let text = read(root, "_headers").and_then(|text| {
            headers((text.as_deref(), service), &content, &mut problems)?;
            Ok(text)
        });
        let headers_text = text.unwrap_or_else(|reason| {
            problems.push(kept("_headers", &reason, last.is_some()));
            last.and_then(|known| known.headers.clone())
        });
        let content = with_rules(content, &redirects, (headers_text.as_deref(), service));
        let known =
            KnownFiles { stamp, redirects, headers: headers_text, problems: problems.clone() };
        self.0.insert(site.to_owned(), known);
        (content, problems)
    }
}

/// Says that a file cannot be used.
fn kept(file: &str, reason: &str, has_last: bool) -> String {
    let instead = if has_last { "the last good ones stay" } else { "it is ignored" };
    format!("{file}: {reason}; {instead}")
}

/// The content with these rules besides its own. They have been checked, or were those before; if
/// the configuration has changed so that they do not fit any more, they are dropped.
fn with_rules(
    content: Content,
    redirects: &[PathRule],
    (headers, service): (Option<&str>, HostingService),
) -> Content {
    let own = content.path_rules.as_ref().map_or(&[][..], PathRules::rules);
    let all = PathRules::new([own, redirects].concat());
    let path_rules = all.unwrap_or_else(|_| content.path_rules.clone());
    let rules = headers.and_then(|text| {
        let headers = SiteHeaders::new(parse_headers(text, service).0).ok()?;
        content.rules.clone().with_site_headers(headers).ok()
    });
    let rules = rules.unwrap_or_else(|| content.rules.clone());
    Content { path_rules, rules, hides_site_files: true, ..content }
}

/// The rules in `_redirects`. An error if the file cannot be used as a whole.
fn redirects(
    root: &File,
    service: HostingService,
    own: &[PathRule],
    problems: &mut Vec<String>,
) -> Result<Vec<PathRule>, String> {
    let Some(text) = read(root, "_redirects")? else { return Ok(Vec::new()) };
    let (numbered, left_out) = parse_redirects(&text, service);
    let rules: Vec<PathRule> = numbered.iter().map(|(_, rule)| rule.clone()).collect();
    PathRules::new([own, &rules].concat()).map_err(|(number, error)| {
        let line = number.checked_sub(own.len()).map_or(0, |at| numbered[at].0);
        format!("line {line}: {error}")
    })?;
    tell("_redirects", left_out, problems);
    Ok(rules)
}

/// Checks the fields in `_headers`.
fn headers(
    (text, service): (Option<&str>, HostingService),
    content: &Content,
    problems: &mut Vec<String>,
) -> Result<(), String> {
    let Some(text) = text else { return Ok(()) };
    let (blocks, left_out) = parse_headers(text, service);
    let headers =
        SiteHeaders::new(blocks).map_err(|(line, error)| format!("line {line}: {error}"))?;
    let rules = content.rules.clone().with_site_headers(headers);
    rules.map_err(|error| error.to_string())?;
    tell("_headers", left_out, problems);
    Ok(())
}

fn tell(file: &str, left_out: Vec<LeftOut>, problems: &mut Vec<String>) {
    let more = left_out.len().saturating_sub(TOLD_MAX);
    problems.extend(
        left_out.into_iter().take(TOLD_MAX).map(|LeftOut { line, what, why }| {
            format!("{file}:{line}: `{what}` is left out: {why}")
        }),
    );
    if more > 0 {
        problems.push(format!("{file}: {more} more lines are left out"));
    }
}

/// The text of a file; `None` if there is none.
fn read(root: &File, name: &str) -> Result<Option<String>, String> {
    let failed = |error: io::Error| format!("it cannot be read: {error}; correct its permissions");
    let Some(file) = open(root, name).map_err(failed)? else { return Ok(None) };
    let metadata = file.metadata();
    if metadata.kind != FileKind::Regular {
        return Err("it is no regular file; replace it".to_owned());
    }
    if metadata.len > SITE_FILE_BYTES_MAX {
        return Err(format!("it has {} bytes, and 1 MiB is allowed; shorten it", metadata.len));
    }
    // One more byte shows that it has grown.
    let mut bytes = vec![0; metadata.len as usize + 1];
    let mut length = 0;
    while length < bytes.len() {
        match file.read_at(&mut bytes[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    if length as u64 != metadata.len {
        return Err("it has changed while it was read; it is read again soon".to_owned());
    }
    bytes.truncate(length);
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| "it is not UTF-8; convert it".to_owned())
}

/// Opens a file at the top of a root, if it is there.
fn open(root: &File, name: &str) -> io::Result<Option<File>> {
    let path = CString::new(name).expect("the name has no NUL byte");
    match File::open_beneath(root, &path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
