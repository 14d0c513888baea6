//! The tables of a configuration file, and the keys that no flag has.

use crate::http::site::rewrites::{REDIRECT_STATUSES, REWRITE_STATUSES};

/// A kind of table in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    /// The file itself.
    Top,
    Server,
    Listen,
    Admin,
    Log,
    Defaults,
    Site,
    /// Within a site.
    FallbackRoot,
    Redirect,
    Rewrite,
}

impl Table {
    pub(super) const ALL: [Self; 10] = [
        Self::Top,
        Self::Server,
        Self::Listen,
        Self::Admin,
        Self::Log,
        Self::Defaults,
        Self::Site,
        Self::FallbackRoot,
        Self::Redirect,
        Self::Rewrite,
    ];

    /// How the table is begun in a file.
    pub(super) fn heading(self) -> &'static str {
        match self {
            Self::Top => "the top of the file",
            Self::Server => "[server]",
            Self::Listen => "[[listen]]",
            Self::Admin => "[admin]",
            Self::Log => "[log]",
            Self::Defaults => "[site-defaults]",
            Self::Site => "[[site]]",
            Self::FallbackRoot => "`fallback-root`",
            Self::Redirect => "[[site.redirect]]",
            Self::Rewrite => "[[site.rewrite]]",
        }
    }
}

/// A key that no flag has.
#[derive(Debug)]
pub(super) struct FileKey {
    pub(super) table: Table,
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) help: &'static str,
}

/// The form of the value of a [`FileKey`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Text,
    Switch,
    /// One of these numbers.
    Numbers(&'static [u16]),
    /// A text, or a list of them.
    Texts,
    /// A table.
    One(Table),
    /// Tables with two brackets.
    Many(Table),
}

const fn file_key(table: Table, name: &'static str, form: Form, help: &'static str) -> FileKey {
    FileKey { table, name, form, help }
}

const REDIRECT: &str = "Paths that lead to another address. The first rule that matches applies";

const REWRITE: &str = "Paths that get another file. The first rule that matches applies";

const FROM: &str = "A path. :name matches one segment, * at the end all that follow";

/// The keys that no flag has: what one command line has only once, so that it needs no name.
pub(super) const FILE_KEYS: [FileKey; 39] = [
    file_key(Table::Top, "server", Form::One(Table::Server), "Options of the process"),
    file_key(Table::Top, "listen", Form::Many(Table::Listen), "Addresses with a name"),
    file_key(
        Table::Top,
        "admin",
        Form::One(Table::Admin),
        "Status, metrics and health, and the command to reload",
    ),
    file_key(Table::Top, "log", Form::One(Table::Log), "The access log and the error log"),
    file_key(
        Table::Top,
        "site-defaults",
        Form::One(Table::Defaults),
        "Options of all sites. A site's own value wins; rules of a site are added to these",
    ),
    file_key(Table::Top, "site", Form::Many(Table::Site), "A directory and how it is served"),
    file_key(
        Table::Top,
        "include",
        Form::Texts,
        "Files with further sites, as globs; relative to the directory of this file",
    ),
    file_key(Table::Listen, "name", Form::Text, "The name by which sites choose these addresses"),
    file_key(Table::Listen, "address", Form::Texts, "Addresses to listen on, as of --listen"),
    file_key(
        Table::Listen,
        "protocol",
        Form::Text,
        "http, https, or redirect (http that leads to https); by default https if a site has a \
         certificate, and http otherwise",
    ),
    file_key(
        Table::Listen,
        "mode",
        Form::Text,
        "The mode of the Unix sockets, in octal digits: who may write may connect; by default 0660",
    ),
    file_key(
        Table::Listen,
        "owner",
        Form::Text,
        "The owner of the Unix sockets, a name or a number; by default the user of the server",
    ),
    file_key(
        Table::Listen,
        "group",
        Form::Text,
        "The group of the Unix sockets, a name or a number; by default the group of the server",
    ),
    file_key(
        Table::Listen,
        "proxy-protocol",
        Form::Text,
        "off, or require: connections begin with a header of the PROXY protocol, version 1 or 2; \
         peers that are not in `trusted` are closed",
    ),
    file_key(
        Table::Listen,
        "forwarded",
        Form::Text,
        "off, x-forwarded-for, or forwarded (RFC 7239): the field in which proxies of `trusted` \
         name the client",
    ),
    file_key(
        Table::Listen,
        "trusted",
        Form::Texts,
        "The proxies that are believed: addresses, networks, or unix: for Unix sockets",
    ),
    file_key(
        Table::Listen,
        "allow",
        Form::Texts,
        "Addresses or networks whose connections are served; others are closed; by default all",
    ),
    file_key(
        Table::Listen,
        "deny",
        Form::Texts,
        "Addresses or networks whose connections are closed, even if `allow` has them",
    ),
    file_key(Table::Site, "name", Form::Text, "The name in messages; by default the first host"),
    file_key(
        Table::Site,
        "hosts",
        Form::Texts,
        "The hosts of the site. In *.example.com, the asterisk stands for exactly one label",
    ),
    file_key(Table::Site, "default", Form::Switch, "Also answer for hosts that no site has"),
    file_key(
        Table::Site,
        "listen",
        Form::Texts,
        "The names of the [[listen]] whose clients reach the site; by default all",
    ),
    file_key(
        Table::Site,
        "root",
        Form::Text,
        "The directory to serve; relative to the directory of this file",
    ),
    file_key(
        Table::Site,
        "fallback-root",
        Form::One(Table::FallbackRoot),
        "A second directory, for files that the root does not have: those of the previous release",
    ),
    file_key(
        Table::FallbackRoot,
        "path",
        Form::Text,
        "The directory; relative to the directory of this file. It need not exist yet",
    ),
    file_key(
        Table::FallbackRoot,
        "only",
        Form::Texts,
        "The files that are looked for there, as globs of paths such as /assets/**",
    ),
    file_key(Table::Defaults, "redirect", Form::Many(Table::Redirect), REDIRECT),
    file_key(Table::Defaults, "rewrite", Form::Many(Table::Rewrite), REWRITE),
    file_key(Table::Site, "redirect", Form::Many(Table::Redirect), REDIRECT),
    file_key(Table::Site, "rewrite", Form::Many(Table::Rewrite), REWRITE),
    file_key(Table::Redirect, "from", Form::Text, FROM),
    file_key(
        Table::Redirect,
        "to",
        Form::Text,
        "A path, or an address with its host. :name and :splat stand for what `from` has matched",
    ),
    file_key(Table::Redirect, "status", Form::Numbers(&REDIRECT_STATUSES), "By default 308"),
    file_key(
        Table::Redirect,
        "force",
        Form::Switch,
        "Whether it applies although there is a file at the path; by default true",
    ),
    file_key(Table::Rewrite, "from", Form::Text, FROM),
    file_key(
        Table::Rewrite,
        "to",
        Form::Text,
        "The path of a file. :name and :splat stand for what `from` has matched",
    ),
    file_key(Table::Rewrite, "status", Form::Numbers(&REWRITE_STATUSES), "By default 200"),
    file_key(
        Table::Rewrite,
        "force",
        Form::Switch,
        "Whether it applies although there is a file at the path; by default false",
    ),
    file_key(
        Table::Rewrite,
        "navigations",
        Form::Switch,
        "Whether only navigations get the file, and missing scripts and images get 404; by default \
         true if many paths lead to one file",
    ),
];
