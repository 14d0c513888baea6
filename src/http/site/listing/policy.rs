//! What is listed, and how much of it at once.

/// What is listed, and how much of it at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// Whether names that begin with a dot are left out, except `.well-known` at the root.
    pub hide_dotfiles: bool,
    /// Whether `x.br`, `x.zst` and `x.gz` are left out beside a file `x`, since they are other
    /// forms of it.
    pub hide_sidecars: bool,
    /// Names that are read from one directory, hidden ones included.
    pub entries_max: usize,
    /// Entries on one page; 0 counts as 1.
    pub page_size: usize,
}

impl Default for Policy {
    fn default() -> Self {
        Self { hide_dotfiles: true, hide_sidecars: false, entries_max: 200_000, page_size: 1000 }
    }
}
