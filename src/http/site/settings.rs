//! Settings of a site.

use std::ffi::CString;
use std::sync::Arc;
use std::time::Duration;

use super::access::AccessSettings;
use super::content::Content;
use super::file_globs::FileGlobs;
use super::hosts::HostPattern;
use crate::clients::Access;
use crate::driver::File;

/// Settings of a site; the same for all workers.
#[derive(Clone, PartialEq, Debug)]
pub struct SiteSettings {
    /// The name of the site in messages.
    pub name: String,
    /// The hosts whose requests the site answers.
    pub hosts: Vec<HostPattern>,
    /// Whether the site also answers requests for hosts that no site has.
    pub is_default: bool,
    /// The listeners whose connections reach the site, by their numbers; `None` for all.
    pub listeners: Option<Vec<u32>>,
    /// The directory to serve.
    pub root: RootDirectory,
    /// The path of that directory, if the path may lead to another directory later.
    pub root_path: Option<RootPath>,
    /// Where files are looked for that the root does not have.
    pub fallback_root: Option<FallbackRoot>,
    /// A name for the certificates that TLS connections to the site get; `None` for those that all
    /// sites without a name share. Sites with the same one answer on each other's connections.
    pub certificates: Option<Arc<str>>,
    /// For how long browsers are to use the site with HTTPS only, in whole seconds: the field
    /// `Strict-Transport-Security` of all responses over TLS (RFC 6797). Zero ends an earlier
    /// time. `None` says nothing.
    pub hsts: Option<Duration>,
    /// Which clients get something; the others get 403.
    pub clients: Access,
    /// Who may use the site, and how much of it; `None` for everybody and everything.
    pub access: Option<Arc<AccessSettings>>,
    /// Which file a request gets, and with which fields.
    pub content: Content,
}

/// The directory that a site serves, as it was opened at the start.
#[derive(Clone, Debug)]
pub struct RootDirectory(pub Arc<File>);

/// Whether both are the same directory, with links followed in the same way.
impl PartialEq for RootDirectory {
    fn eq(&self, other: &Self) -> bool {
        is_same_directory(&self.0, &other.0) && self.0.links() == other.0.links()
    }
}

/// A second directory, for some of the files that the root does not have: those of the previous
/// release, which pages of clients still refer to.
#[derive(Clone, PartialEq, Debug)]
pub struct FallbackRoot {
    /// The directory, with links followed as beneath the root; `None` if it does not exist yet.
    pub root: Option<RootDirectory>,
    /// Its path, if the path may lead to another directory later. It is opened again after that of
    /// the root, and only if the root has a path.
    pub root_path: Option<RootPath>,
    /// The files that are looked for there.
    pub only: FileGlobs,
}

/// Whether two descriptors are of the same directory.
pub(super) fn is_same_directory(one: &File, other: &File) -> bool {
    let identity = |file: &File| (file.metadata().device, file.metadata().inode);
    identity(one) == identity(other)
}

/// A path to the root, which may contain a symbolic link that deployments replace.
#[derive(Clone, Debug)]
pub struct RootPath {
    /// The directory where a relative path starts. It must follow all symbolic links.
    pub base: Arc<File>,
    /// The path.
    pub path: CString,
}

/// Whether both are the same path from the same directory.
impl PartialEq for RootPath {
    fn eq(&self, other: &Self) -> bool {
        is_same_directory(&self.base, &other.base) && self.path == other.path
    }
}

impl SiteSettings {
    /// The default settings for a root: the site answers the requests for all hosts.
    pub fn new(root: Arc<File>) -> Self {
        Self {
            name: "default".to_owned(),
            hosts: Vec::new(),
            is_default: true,
            listeners: None,
            root: RootDirectory(root),
            root_path: None,
            fallback_root: None,
            certificates: None,
            hsts: None,
            clients: Access::default(),
            access: None,
            content: Content::default(),
        }
    }
}
