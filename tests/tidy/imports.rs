//! Which file imports which: paths are resolved to the file that defines the item.
//!
//! A re-export is followed to that file. A re-export of something below the module is no
//! dependency by itself, because it only says where to look; it is one if the file uses the name
//! too. The import of a module is none either: the names that the code uses through it count.

use std::collections::{BTreeMap, BTreeSet};

use super::source::{Import, Mention, Module, modules_of};

/// The longest chain of imports that is followed; a longer one would be endless.
const HOPS_MAX: usize = 16;

/// How far imports are followed.
#[derive(Clone, Copy)]
struct Reach {
    hops: usize,
    /// Whether globs are followed. The path of a glob is resolved without, so that none leads to
    /// itself.
    globs: bool,
}

impl Reach {
    const FULL: Self = Self { hops: HOPS_MAX, globs: true };

    fn next(self) -> Self {
        assert!(self.hops > 0, "a chain of imports has no end");
        Self { hops: self.hops - 1, ..self }
    }
}

/// A file that imports another one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) line: usize,
    /// The path as it is written.
    pub(crate) path: String,
}

/// A path into another crate, with its imports resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// Begins with the name of the crate, as in `std::fs::read`; a glob ends in `*`.
    pub(crate) path: String,
}

/// The target of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// The module that defines the item.
    Item(Vec<String>),
    Module(Vec<String>),
    Foreign(Vec<String>),
}

/// All modules that are not for tests.
#[derive(Debug)]
pub(crate) struct Crate {
    modules: BTreeMap<Vec<String>, Module>,
}

impl Crate {
    /// Reads files, given as names and texts.
    pub(crate) fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let all: Vec<Module> =
            files.into_iter().flat_map(|(file, text)| modules_of(file, text)).collect();
        let tests: BTreeSet<Vec<String>> = all
            .iter()
            .flat_map(|module| module.tests.iter().map(|name| beneath(&module.path, name)))
            .collect();
        let is_for_tests = |path: &[String]| (0..=path.len()).any(|at| tests.contains(&path[..at]));
        let modules = all.into_iter().filter(|module| !is_for_tests(&module.path));
        Self { modules: modules.map(|module| (module.path.clone(), module)).collect() }
    }

    /// The files, in order.
    pub(crate) fn files(&self) -> BTreeSet<&str> {
        self.modules.values().map(|module| module.file.as_str()).collect()
    }

    /// Each pair of files, at each line that connects them.
    pub(crate) fn needs(&self) -> Vec<Need> {
        let mut needs = BTreeSet::new();
        for module in self.modules.values() {
            for (to, mention) in self.needed(module) {
                if self.is_struct_of_parent(module, &to, mention) {
                    continue;
                }
                let to = self.modules[&to].file.clone();
                if to != module.file {
                    let (line, path) = (mention.line, mention.path.join("::"));
                    needs.insert(Need { from: module.file.clone(), to, line, path });
                }
            }
        }
        needs.into_iter().collect()
    }

    /// The modules that a module needs, and the paths that name them.
    fn needed<'a>(&'a self, module: &'a Module) -> Vec<(Vec<String>, &'a Mention)> {
        let mut needed = Vec::new();
        for import in &module.imports {
            let counts = |target: &[String]| {
                let only_shows = import.is_public && target.starts_with(&module.path);
                let used = import.name.as_ref().is_some_and(|name| module.names.contains(name));
                !only_shows || used
            };
            let targets = match self.resolve(&module.path, &import.mention.path, Reach::FULL) {
                Target::Item(target) => vec![target],
                Target::Module(target) if import.name.is_none() => self.contents(&target),
                Target::Module(_) | Target::Foreign(_) => Vec::new(),
            };
            let targets = targets.into_iter().filter(|target| counts(target));
            needed.extend(targets.map(|target| (target, &import.mention)));
        }
        for mention in &module.mentions {
            if let Target::Item(to) = self.resolve(&module.path, &mention.path, Reach::FULL) {
                needed.push((to, mention));
            }
        }
        needed
    }

    /// The modules that define what a glob import of a module may import.
    fn contents(&self, path: &[String]) -> Vec<Vec<String>> {
        let shown = self.modules[path].imports.iter().filter(|import| import.is_public);
        let shown = shown.filter_map(|import| {
            match self.resolve(path, &import.mention.path, Reach::FULL) {
                Target::Item(target) | Target::Module(target) => Some(target),
                Target::Foreign(_) => None,
            }
        });
        let own = (!self.modules[path].items.is_empty()).then(|| path.to_vec());
        own.into_iter().chain(shown).collect()
    }

    /// All paths into other crates.
    pub(crate) fn foreign(&self) -> Vec<Foreign> {
        let mut all = Vec::new();
        for module in self.modules.values() {
            let imports = module.imports.iter();
            let imports = imports.map(|import| (&import.mention, import.name.is_none()));
            let mentions = module.mentions.iter().map(|mention| (mention, false));
            for (mention, is_glob) in imports.chain(mentions) {
                let target = self.resolve(&module.path, &mention.path, Reach::FULL);
                if let Target::Foreign(mut path) = target {
                    path.extend(is_glob.then(|| "*".to_owned()));
                    let (file, line) = (module.file.clone(), mention.line);
                    all.push(Foreign { file, line, path: path.join("::") });
                }
            }
        }
        all
    }

    /// Whether a file `dir/part.rs` names a struct of `dir/mod.rs` because it has `impl` blocks
    /// of it: the blocks of a large struct are spread over files beside its definition. Any other
    /// use of `mod.rs` in such a file is a need like any other.
    fn is_struct_of_parent(&self, part: &Module, target: &[String], mention: &Mention) -> bool {
        let is_parent = part.path.split_last().is_some_and(|(_, parent)| parent == target);
        let parent = &self.modules[target];
        let is_own = |name: &String| part.impls.contains(name) && parent.items.contains(name);
        is_parent && parent.file.ends_with("/mod.rs") && mention.path.iter().any(is_own)
    }

    /// The target of a path in a module.
    fn resolve(&self, module: &[String], path: &[String], reach: Reach) -> Target {
        let (mut at, mut rest) = match path[0].as_str() {
            "" => return Target::Foreign(path[1..].to_vec()),
            "crate" | "ringd" => (Target::Module(Vec::new()), &path[1..]),
            "self" | "super" => (Target::Module(module.to_vec()), path),
            name => match self.find(module, name, reach) {
                Some(target) => (target, &path[1..]),
                None => return Target::Foreign(path.to_vec()),
            },
        };
        while let Some((name, behind)) = rest.split_first() {
            rest = behind;
            at = match at {
                Target::Item(_) => break,
                Target::Foreign(mut path) => {
                    path.push(name.clone());
                    Target::Foreign(path)
                }
                Target::Module(mut path) if name == "super" => {
                    path.pop();
                    Target::Module(path)
                }
                Target::Module(path) if name == "self" => Target::Module(path),
                // A name that cannot be found, because a macro makes it, counts for the module.
                Target::Module(path) => match self.find(&path, name, reach) {
                    Some(target) => target,
                    None => Target::Item(path),
                },
            };
        }
        at
    }

    /// The target of a name in a module, by its own items and imports.
    fn find(&self, path: &[String], name: &str, reach: Reach) -> Option<Target> {
        let child = beneath(path, name);
        if self.modules.contains_key(&child) {
            return Some(Target::Module(child));
        }
        let module = self.modules.get(path)?;
        let named = |import: &&Import| import.name.as_deref() == Some(name);
        // `use name;` names another crate.
        let other = |import: &&Import| import.mention.path != [name];
        if module.items.contains(name) {
            return Some(Target::Item(path.to_vec()));
        }
        if let Some(import) = module.imports.iter().filter(other).find(named) {
            return Some(self.resolve(path, &import.mention.path, reach.next()));
        }
        let mut globs = module.imports.iter().filter(|import| reach.globs && import.name.is_none());
        globs.find_map(|glob| {
            let without = Reach { globs: false, ..reach.next() };
            match self.resolve(path, &glob.mention.path, without) {
                Target::Module(target) if target != path => self.find(&target, name, reach.next()),
                _ => None,
            }
        })
    }
}

fn beneath(path: &[String], name: &str) -> Vec<String> {
    let mut path = path.to_vec();
    path.push(name.to_owned());
    path
}
