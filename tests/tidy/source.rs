//! The definitions, imports and names in one source file.
//!
//! The text is read as tokens, so comments and strings do not count. Code for tests does not
//! count either: an item behind `#[cfg(test)]`, or a file that is declared so. Paths are
//! resolved, single names are not: a name without a path is defined in the file or imported by a
//! `use`.

use std::collections::BTreeSet;
use std::str::FromStr;

use proc_macro2::{Delimiter, Group, Spacing, TokenStream, TokenTree};

/// A module: a file, or a part of one in `mod name { }`.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The file, such as `src/http/mod.rs`.
    pub(crate) file: String,
    /// Its path from the root of the crate; `main` for the binary, which is another crate.
    pub(crate) path: Vec<String>,
    /// The names of the items that it defines.
    pub(crate) items: BTreeSet<String>,
    pub(crate) imports: Vec<Import>,
    /// Paths in the code, of at least two names.
    pub(crate) mentions: Vec<Mention>,
    /// Names in the code that begin a path or stand alone.
    pub(crate) names: BTreeSet<String>,
    /// Types that have an inherent `impl` block here.
    pub(crate) impls: BTreeSet<String>,
    /// Modules below it that are for tests only.
    pub(crate) tests: BTreeSet<String>,
}

/// One name of a `use`.
#[derive(Debug)]
pub(crate) struct Import {
    /// Its name here; `None` for a glob.
    pub(crate) name: Option<String>,
    pub(crate) mention: Mention,
    /// Whether it is a `pub use`, of any visibility.
    pub(crate) is_public: bool,
}

/// A path and its line. A path that begins with `::` has an empty first name.
#[derive(Clone, Debug)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// The modules of a file, its own first.
pub(crate) fn modules_of(file: &str, text: &str) -> Vec<Module> {
    let path = file.trim_start_matches("src/").trim_end_matches(".rs");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let path = path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect();
    let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut modules = vec![Module { file: file.to_owned(), path, ..Module::default() }];
    read(tokens, &mut modules, 0, true);
    modules
}

/// Reads the tokens of module `at`. If `top` is set, they are items.
fn read(tokens: TokenStream, modules: &mut Vec<Module>, at: usize, top: bool) {
    let trees: Vec<TokenTree> = tokens.into_iter().collect();
    let mut next = 0;
    let mut is_public = false;
    while let Some(tree) = trees.get(next) {
        let begun = next;
        next += 1;
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                next += usize::from(is_punct(trees.get(next), '!'));
                if let Some(TokenTree::Group(attribute)) = trees.get(next) {
                    next += 1;
                    if is_for_tests(attribute) {
                        next = skip_item(&trees, next, &mut modules[at]);
                    } else {
                        read(attribute.stream(), modules, at, false);
                    }
                }
                // An attribute stands before `pub`, never after it.
                continue;
            }
            // The name of a lifetime is not part of a path.
            TokenTree::Punct(punct) if punct.as_char() == '\'' => next += 1,
            TokenTree::Group(group) => read(group.stream(), modules, at, false),
            TokenTree::Ident(ident) => match ident.to_string().as_str() {
                "pub" => {
                    is_public = true;
                    next += usize::from(is_group(trees.get(next), Delimiter::Parenthesis));
                    continue;
                }
                "use" if !is_punct(trees.get(next), '<') => {
                    let mention = Mention { path: Vec::new(), line: 0 };
                    let import = Import { name: None, mention, is_public };
                    next = read_use(&trees, next, &import, &mut modules[at].imports);
                }
                "mod" => next = read_module(&trees, next, modules, at),
                keyword => {
                    if top {
                        note_item(keyword, &trees[next..], &mut modules[at]);
                    }
                    next = read_path(&trees, begun, &mut modules[at]);
                }
            },
            _ => {}
        }
        is_public = false;
    }
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_group(tree: Option<&TokenTree>, wanted: Delimiter) -> bool {
    matches!(tree, Some(TokenTree::Group(group)) if group.delimiter() == wanted)
}

/// Whether `::` stands at this position.
fn is_separator(trees: &[TokenTree], at: usize) -> bool {
    let joint = matches!(trees.get(at), Some(TokenTree::Punct(punct))
        if punct.as_char() == ':' && punct.spacing() == Spacing::Joint);
    joint && is_punct(trees.get(at + 1), ':')
}

fn name_at(trees: &[TokenTree], at: usize) -> Option<String> {
    match trees.get(at) {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string().trim_start_matches("r#").into()),
        _ => None,
    }
}

/// Whether an attribute is `cfg(test)`, or `cfg(all(..))` with `test` in it.
fn is_for_tests(attribute: &Group) -> bool {
    let requires = |stream: TokenStream, function: &str| {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        match (name_at(&trees, 0), trees.get(1)) {
            (Some(name), Some(TokenTree::Group(group))) if name == function => Some(group.stream()),
            _ => None,
        }
    };
    let Some(condition) = requires(attribute.stream(), "cfg") else { return false };
    let all = requires(condition.clone(), "all").unwrap_or(condition);
    let all: Vec<TokenTree> = all.into_iter().collect();
    (0..all.len()).any(|at| name_at(&all, at).is_some_and(|name| name == "test"))
}

/// Skips the item whose first attribute ends before `at`. A module that it declares is for tests.
fn skip_item(trees: &[TokenTree], mut at: usize, module: &mut Module) -> usize {
    let mut is_use = false;
    while let Some(tree) = trees.get(at) {
        at += 1;
        match tree {
            TokenTree::Ident(ident) if ident == "use" => is_use = true,
            TokenTree::Ident(ident) if ident == "mod" => {
                module.tests.extend(name_at(trees, at));
            }
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && !is_use => break,
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            _ => {}
        }
    }
    at
}

/// Reads `mod name { }`. A module in its own file is read with that file.
fn read_module(trees: &[TokenTree], at: usize, modules: &mut Vec<Module>, parent: usize) -> usize {
    let Some(name) = name_at(trees, at) else { return at };
    if let Some(TokenTree::Group(group)) = trees.get(at + 1) {
        let mut path = modules[parent].path.clone();
        path.push(name);
        let file = modules[parent].file.clone();
        modules.push(Module { file, path, ..Module::default() });
        let child = modules.len() - 1;
        read(group.stream(), modules, child, true);
        return at + 2;
    }
    at + 1
}

/// Records the item that a keyword begins, at the top level of a module.
fn note_item(keyword: &str, behind: &[TokenTree], module: &mut Module) {
    match keyword {
        "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" => {
            module.items.extend(name_at(behind, 0));
        }
        "macro_rules" => module.items.extend(name_at(behind, 1)),
        "impl" => module.impls.extend(own_impl(behind)),
        _ => {}
    }
}

/// The name of the type of an inherent `impl` block.
fn own_impl(behind: &[TokenTree]) -> Option<String> {
    let (mut depth, mut name) = (0_usize, None);
    for (at, tree) in behind.iter().enumerate() {
        match tree {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => {
                let is_arrow = at > 0 && is_punct(behind.get(at - 1), '-');
                depth = depth.saturating_sub(usize::from(!is_arrow));
            }
            TokenTree::Ident(ident) if depth == 0 && ident == "for" => return None,
            TokenTree::Ident(ident) if depth == 0 && ident == "where" => break,
            TokenTree::Ident(_) if depth == 0 => name = name_at(behind, at),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    name
}

/// Reads the path that begins at `at`.
fn read_path(trees: &[TokenTree], at: usize, module: &mut Module) -> usize {
    let TokenTree::Ident(first) = &trees[at] else { return at + 1 };
    let line = first.span().start().line;
    let is_global = at >= 2 && is_separator(trees, at - 2);
    // After `>::` the names belong to a type that has been read, and after a dot to a value.
    let is_associated = is_global && at >= 3 && is_punct(trees.get(at - 3), '>');
    let is_member = at >= 1 && is_punct(trees.get(at - 1), '.');
    let mut path: Vec<String> = is_global.then(String::new).into_iter().collect();
    path.extend(name_at(trees, at));
    let mut next = at + 1;
    while is_separator(trees, next)
        && let Some(name) = name_at(trees, next + 2)
    {
        path.push(name);
        next += 3;
    }
    let is_range = is_member && at >= 2 && is_punct(trees.get(at - 2), '.');
    if !is_associated && (!is_member || is_range) {
        module.names.insert(path[0].clone());
        if path.len() > 1 {
            module.mentions.push(Mention { path, line });
        }
    }
    next
}

/// Reads the tree of a `use`, or a branch of it, after the path `so_far`. Returns where it ends.
fn read_use(
    trees: &[TokenTree],
    mut at: usize,
    so_far: &Import,
    imports: &mut Vec<Import>,
) -> usize {
    let mut path = so_far.mention.path.clone();
    let mut alias = None;
    let mut line = so_far.mention.line;
    let made = |name, path, line| Import {
        name,
        mention: Mention { path, line },
        is_public: so_far.is_public,
    };
    while let Some(tree) = trees.get(at) {
        line = tree.span().start().line;
        at += 1;
        match tree {
            TokenTree::Ident(ident) if ident == "as" => {
                alias = name_at(trees, at);
                at += 1;
            }
            TokenTree::Ident(_) => path.extend(name_at(trees, at - 1)),
            TokenTree::Group(group) => {
                let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                let stem = made(None, path, line);
                let mut branch = 0;
                while branch < branches.len() {
                    branch = read_use(&branches, branch, &stem, imports);
                }
                // After the comma or the semicolon.
                return at + 1;
            }
            TokenTree::Punct(punct) => match punct.as_char() {
                '*' => {
                    imports.push(made(None, path, line));
                    return at + 1;
                }
                // `::` at the very beginning names another crate.
                ':' if path.is_empty() => path.push(String::new()),
                ',' | ';' => break,
                _ => {}
            },
            TokenTree::Literal(_) => {}
        }
    }
    // `a::{self}` is `a`.
    if path.len() > 1 && path.last().is_some_and(|name| name == "self") {
        path.pop();
    }
    let name = alias.or_else(|| path.last().cloned());
    imports.push(made(name, path, line));
    at
}
