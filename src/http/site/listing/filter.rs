//! Selects the entries of a directory that are listed, and gets their metadata.

use std::collections::HashSet;
use std::ffi::CString;
use std::io;

use super::entries::{Details, ListedEntries, ListedEntry};
use super::policy::Policy;
use crate::driver::{Entry, EntryKind, File, FileFailure, FileKind, Metadata};
use crate::http::semantics::negotiate::Coding;
use crate::http::site::content::is_site_file;
use crate::http::site::target::{PATH_BYTES_MAX, SEGMENT_BYTES_MAX, has_hidden_segment};

/// The directory that is listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedDirectory<'a> {
    /// The root, which decides where links may lead.
    pub(super) root: &'a File,
    /// The path below the root.
    pub(super) dir: &'a [u8],
    /// The directory itself.
    pub(super) directory: &'a File,
}

impl ListedDirectory<'_> {
    /// The entries to list, in any order. Links get their details, because it has to be known
    /// whether they lead to directories; other entries have none yet.
    pub(super) fn visible(
        &self,
        entries: Vec<Entry>,
        policy: &Policy,
    ) -> io::Result<ListedEntries> {
        let mut items = ListedEntries::with_capacity(entries.len());
        for Entry { name, kind } in entries {
            let is_hidden = policy.hide_dotfiles && self.is_hidden(&name)
                || policy.hide_site_files && self.dir.is_empty() && is_site_file(&name);
            if is_hidden || !self.can_be_requested(&name) {
                continue;
            }
            let directory = kind == EntryKind::Directory;
            let mut item = ListedEntry { name: &name, directory, details: None };
            match kind {
                EntryKind::File | EntryKind::Directory => {}
                EntryKind::Other => continue,
                EntryKind::Link | EntryKind::Unknown => {
                    let path = self.path_of(&name);
                    let Some(metadata) = describe(self.root, path)? else { continue };
                    set_metadata(&mut item, &metadata);
                }
            }
            items.push(item);
        }
        if policy.hide_sidecars {
            leave_out_sidecars(&mut items);
        }
        items.shrink();
        Ok(items)
    }

    /// Adds missing details to an entry. Returns whether the entry still exists. Nothing more is
    /// described after the first error.
    ///
    /// Links have details already. Other entries are looked up by name in the open directory, which
    /// is cheaper than by path.
    pub(super) fn describe(&self, item: &mut ListedEntry<'_>, failed: &mut io::Result<()>) -> bool {
        if item.details.is_some() || failed.is_err() {
            return true;
        }
        match describe(self.directory, item.name.to_vec()) {
            Ok(Some(metadata)) => set_metadata(item, &metadata),
            Ok(None) => return false,
            Err(error) => *failed = Err(error),
        }
        true
    }

    /// The path of an entry below the root.
    fn path_of(&self, name: &[u8]) -> Vec<u8> {
        match self.dir {
            [] => name.to_vec(),
            dir => [dir, b"/", name].concat(),
        }
    }

    /// Whether a request can name an entry. Some file systems have longer names than requests may
    /// have, and in a deep directory, the path of an entry may be too long.
    fn can_be_requested(&self, name: &[u8]) -> bool {
        let slash = usize::from(!self.dir.is_empty());
        let path_bytes = self.dir.len() + slash + name.len();
        name.len() <= SEGMENT_BYTES_MAX
            && path_bytes <= PATH_BYTES_MAX
            && !matches!(name, b"" | b"." | b"..")
            && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
    }

    /// Whether an entry is hidden by its name.
    fn is_hidden(&self, name: &[u8]) -> bool {
        if self.dir.is_empty() { has_hidden_segment(name) } else { name.starts_with(b".") }
    }
}

/// The metadata of a file, if it can be served.
///
/// An entry whose metadata cannot be read could not be opened either, so it is treated as missing.
/// But a shortage fails the listing, because the page could otherwise lack entries at random.
fn describe(directory: &File, path: Vec<u8>) -> io::Result<Option<Metadata>> {
    let Ok(path) = CString::new(path) else { return Ok(None) };
    match directory.describe(&path) {
        Ok(metadata) => Ok(Some(metadata).filter(|found| found.kind != FileKind::Other)),
        Err(error) => match FileFailure::of(&error) {
            FileFailure::Shortage | FileFailure::Busy => Err(error),
            _ => Ok(None),
        },
    }
}

fn set_metadata(item: &mut ListedEntry<'_>, metadata: &Metadata) {
    item.directory = metadata.kind == FileKind::Directory;
    item.details = Some(Details { len: metadata.len, modified: metadata.modified });
}

/// Removes compressed files that stand beside their plain file.
fn leave_out_sidecars(items: &mut ListedEntries) {
    let files = items.iter().filter(|item| !item.directory);
    let names: HashSet<&[u8]> = files.map(|item| item.name).collect();
    let is_sidecar = |item: ListedEntry<'_>| {
        let original = |coding: &Coding| item.name.strip_suffix(coding.suffix().as_bytes());
        !item.directory && Coding::ALL.iter().filter_map(original).any(|name| names.contains(name))
    };
    let mut sidecars = items.iter().map(is_sidecar).collect::<Vec<_>>().into_iter();
    items.retain_mut(|_| sidecars.next() == Some(false));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn item(name: &str, directory: bool, len: u64, modified: (i64, u32)) -> ListedEntry<'_> {
        ListedEntry { name: name.as_bytes(), directory, details: Some(Details { len, modified }) }
    }

    pub(in super::super) fn file(name: &str, len: u64, modified: (i64, u32)) -> ListedEntry<'_> {
        item(name, false, len, modified)
    }

    pub(in super::super) fn directory(
        name: &str,
        len: u64,
        modified: (i64, u32),
    ) -> ListedEntry<'_> {
        item(name, true, len, modified)
    }

    pub(in super::super) fn listed<'a>(
        items: impl IntoIterator<Item = ListedEntry<'a>>,
    ) -> ListedEntries {
        let mut entries = ListedEntries::default();
        items.into_iter().for_each(|item| entries.push(item));
        entries
    }

    #[test]
    fn compressed_files_are_left_out_only_beside_their_plain_file() {
        let mut items: Vec<ListedEntry<'_>> = [
            "a.js",
            "a.js.br",
            "a.js.gz",
            "a.js.zst",
            "a.js.xz",
            "b.tar.gz",
            "c.gz.br",
            "c.gz",
            "gz",
            ".gz",
            "folder.gz",
            "packed.br",
        ]
        .map(|name| file(name, 0, (0, 0)))
        .into();
        items.push(directory("folder", 0, (0, 0)));
        items.push(file("packed", 0, (0, 0)));
        items.push(directory("a.js.d", 0, (0, 0)));
        items.push(file("x", 0, (0, 0)));
        items.push(directory("x.gz", 0, (0, 0)));
        let mut items = listed(items);
        leave_out_sidecars(&mut items);
        let names: Vec<String> =
            items.iter().map(|item| String::from_utf8_lossy(item.name).into_owned()).collect();
        let kept = [
            "a.js",
            "a.js.xz",
            "b.tar.gz",
            "c.gz",
            "gz",
            ".gz",
            "folder.gz",
            "folder",
            "packed",
            "a.js.d",
            "x",
            "x.gz",
        ];
        assert_eq!(names, kept);
    }

    #[test]
    fn entries_that_no_request_can_name_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = File::open_root(folder.path(), crate::driver::Links::Beneath).unwrap();
        let deep = vec![b'd'; PATH_BYTES_MAX - 4];
        let place = |dir| ListedDirectory { root: &root, dir, directory: &root };
        let table: [(&[u8], &[u8], bool); 11] = [
            (b"", b"a", true),
            (b"dir", b"a", true),
            (b"", &[b'n'; 255], true),
            (b"", &[b'n'; 256], false),
            (&deep, b"abc", true),
            (&deep, b"abcd", false),
            (b"", b"", false),
            (b"", b".", false),
            (b"", b"..", false),
            (b"", b"a/b", false),
            (b"", b"a\0b", false),
        ];
        for (dir, name, can) in table {
            assert_eq!(place(dir).can_be_requested(name), can, "{}", name.escape_ascii());
        }
    }
}
