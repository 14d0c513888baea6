//! The entries of a directory in memory.
//!
//! A large directory has some hundred thousand entries, which are kept for a while. So they are
//! compact, and in a few pieces of memory: dropping them takes no time to speak of, which matters
//! because the loop of a worker drops them.

/// What a listing shows of a file besides its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Details {
    /// The length in bytes.
    pub(super) len: u64,
    /// The modification time: seconds and nanoseconds since the epoch.
    pub(super) modified: (i64, u32),
}

/// An entry that is listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedEntry<'a> {
    /// The name, which a request can name.
    pub(super) name: &'a [u8],
    /// Whether it is a directory or a link to one.
    pub(super) directory: bool,
    /// Those of the file, or of the target of a link. `None` until needed.
    pub(super) details: Option<Details>,
}

impl ListedEntry<'_> {
    /// The length in bytes; 0 without details.
    pub(super) fn len(&self) -> u64 {
        self.details.map_or(0, |details| details.len)
    }

    /// The modification time: seconds and nanoseconds since the epoch; 0 without details.
    pub(super) fn modified(&self) -> (i64, u32) {
        self.details.map_or((0, 0), |details| details.modified)
    }
}

/// The entries of a listing, in any order.
#[derive(Default, Debug)]
pub(super) struct ListedEntries {
    /// All names, one after the other.
    names: Vec<u8>,
    records: Vec<Record>,
}

/// An entry without its name.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// Where the name begins.
    start: usize,
    len: u64,
    seconds: i64,
    nanoseconds: u32,
    name_len: u8,
    directory: bool,
    /// Whether the length and the time are known.
    described: bool,
}

impl ListedEntries {
    /// Without entries, but with room for some.
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self { names: Vec::new(), records: Vec::with_capacity(entries) }
    }

    /// Appends an entry, whose name has at most 255 bytes, like that of every request.
    pub(super) fn push(&mut self, entry: ListedEntry<'_>) {
        let name_len = u8::try_from(entry.name.len()).expect("longer names are not listed");
        let mut record = Record {
            start: self.names.len(),
            len: 0,
            seconds: 0,
            nanoseconds: 0,
            name_len,
            directory: false,
            described: false,
        };
        record.set(&entry);
        self.names.extend_from_slice(entry.name);
        self.records.push(record);
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// The entry with an index.
    pub(super) fn get(&self, index: usize) -> ListedEntry<'_> {
        self.records[index].view(&self.names)
    }

    /// All entries.
    pub(super) fn iter(&self) -> impl Iterator<Item = ListedEntry<'_>> {
        self.records.iter().map(|record| record.view(&self.names))
    }

    /// Lets `keep` change each entry, except for its name, and removes those for which it returns
    /// false.
    pub(super) fn retain_mut(&mut self, mut keep: impl FnMut(&mut ListedEntry<'_>) -> bool) {
        let Self { names, records } = self;
        records.retain_mut(|record| {
            let mut entry = record.view(names);
            let keeps = keep(&mut entry);
            record.set(&entry);
            keeps
        });
    }

    /// Gives back memory that is not used, when no more entries will be appended.
    pub(super) fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.records.shrink_to_fit();
    }

    /// The memory that the entries take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.names.capacity() + self.records.capacity() * size_of::<Record>()
    }
}

impl Record {
    fn view<'a>(&self, names: &'a [u8]) -> ListedEntry<'a> {
        let details = Details { len: self.len, modified: (self.seconds, self.nanoseconds) };
        ListedEntry {
            name: &names[self.start..self.start + usize::from(self.name_len)],
            directory: self.directory,
            details: self.described.then_some(details),
        }
    }

    fn set(&mut self, entry: &ListedEntry<'_>) {
        (self.directory, self.described) = (entry.directory, entry.details.is_some());
        (self.len, (self.seconds, self.nanoseconds)) = (entry.len(), entry.modified());
    }
}
