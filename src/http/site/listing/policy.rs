//! Settings of listings.

/// Which entries are listed, and how many.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Whether names that begin with a dot are left out, except `.well-known` at the root.
    pub hide_dotfiles: bool,
    /// Whether the compressed files `x.br`, `x.zst` and `x.gz` are left out if there is a file `x`.
    pub hide_sidecars: bool,
    /// Whether the files of hosting services at the root are left out.
    pub hide_site_files: bool,
    /// How many names are read from a directory, including hidden ones.
    pub entries_max: usize,
    /// How many entries a page has at most; 0 counts as 1.
    pub page_size: usize,
    /// How many bytes the entries of a page take at most, by an estimate that is never too low. A
    /// page has at least one entry, however long.
    pub page_bytes: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            hide_dotfiles: true,
            hide_sidecars: false,
            hide_site_files: false,
            entries_max: 200_000,
            page_size: 1000,
            page_bytes: 256 * 1024,
        }
    }
}
