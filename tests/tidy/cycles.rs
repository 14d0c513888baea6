//! Cycles of files that import each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Need;

/// Files that import each other, directly or through others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cycle {
    pub(crate) files: BTreeSet<String>,
    /// The imports of a shortest cycle.
    pub(crate) way: Vec<Need>,
}

/// All cycles, each as large as possible: the strongly connected components of the file graph.
pub(crate) fn cycles(needs: &[Need]) -> Vec<Cycle> {
    let mut graph = Graph::new();
    for need in needs {
        graph.entry(need.from.clone()).or_default().entry(need.to.clone()).or_insert(need);
    }
    let reached: BTreeMap<&String, BTreeSet<String>> =
        graph.keys().map(|from| (from, reached(&graph, from))).collect();
    let mut cycles: Vec<Cycle> = Vec::new();
    for (from, all) in &reached {
        let known = cycles.iter().any(|cycle| cycle.files.contains(*from));
        if !known && all.contains(*from) {
            let back = |to: &&String| reached.get(to).is_some_and(|all| all.contains(*from));
            let files = all.iter().filter(back).cloned().collect();
            cycles.push(Cycle { files, way: way_round(&graph, from) });
        }
    }
    cycles
}

type Graph<'a> = BTreeMap<String, BTreeMap<String, &'a Need>>;

/// All files that a file reaches, itself only if it is on a cycle.
fn reached(graph: &Graph<'_>, from: &String) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut left = vec![from];
    while let Some(file) = left.pop() {
        for next in graph.get(file).into_iter().flat_map(BTreeMap::keys) {
            if reached.insert(next.clone()) {
                left.push(next);
            }
        }
    }
    reached
}

/// A shortest path from a file back to itself.
fn way_round(graph: &Graph<'_>, from: &String) -> Vec<Need> {
    let mut before: BTreeMap<&String, (&String, &Need)> = BTreeMap::new();
    let mut left = VecDeque::from([from]);
    while let Some(file) = left.pop_front().filter(|_| !before.contains_key(from)) {
        for (next, need) in graph.get(file).into_iter().flatten() {
            before.entry(next).or_insert_with(|| {
                left.push_back(next);
                (file, *need)
            });
        }
    }
    let mut way = Vec::new();
    let mut at = from;
    while let Some((file, need)) = before.get(at) {
        way.insert(0, (*need).clone());
        at = file;
        if at == from {
            break;
        }
    }
    way
}

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let files: Vec<&str> = self.files.iter().map(String::as_str).collect();
        write!(f, "{} files need each other: {}", files.len(), files.join(", "))?;
        for Need { from, to, line, path } in &self.way {
            write!(f, "\n    {from}:{line}: {path} is in {to}")?;
        }
        Ok(())
    }
}
