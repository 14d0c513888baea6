//! Tests of the analysis of imports, on made-up sources.

use super::cycles::cycles;
use super::imports::Crate;
use super::layers::{forbidden, kernel_paths, layer_of};

/// The needs of a source, as `from -> to`, each pair once.
fn needs(files: &[(&'static str, &'static str)]) -> Vec<String> {
    let needs = Crate::read(files.iter().copied()).needs();
    let short = |file: &str| file.trim_start_matches("src/").trim_end_matches(".rs").to_owned();
    let mut all: Vec<String> =
        needs.iter().map(|need| format!("{} -> {}", short(&need.from), short(&need.to))).collect();
    all.dedup();
    all
}

/// A file with definitions, beside the one under test.
const B: (&str, &str) = ("src/b.rs", "pub struct B; pub enum DriverKind { One } pub fn make() {}");
const ROOT: (&str, &str) = ("src/lib.rs", "mod a; mod b;");

/// The needs of `src/a.rs` with this text.
fn needs_of(text: &'static str) -> Vec<String> {
    needs(&[ROOT, ("src/a.rs", text), B])
}

#[test]
fn every_way_to_name_something_counts() {
    for text in [
        "use crate::b::B;",
        "use super::b::B;",
        "use self::super::b::B;",
        "use crate::{b::{self, B}, a};",
        "use crate::b::B as Other;",
        "use crate::b::*;",
        "use crate::b::{DriverKind::*};",
        "use crate::b as other; fn f() { other::make() }",
        "use crate::{b::{self}}; fn f() { b::make() }",
        "use super::*; fn f() { b::make() }",
        "fn f() { crate::b::make() }",
        "fn f() { Some(1).map(|_| super::b::make()) }",
        "fn f() { println!(\"{:?}\", crate::b::DriverKind::One) }",
        "fn f(_: &'static crate::b::B) {}",
        "fn f() { use crate::b::B; }",
        "impl Trait for crate::b::B {}",
        "impl<T: Into<crate::b::B>> Trait for T {}",
        "fn f() { <crate::b::B as Default>::default() }",
        "fn f() { for at in 0..crate::b::make() {} }",
        "#[arg(default_value_t = crate::b::DriverKind::One)] struct A;",
        "mod inner { use crate::b::B; }",
        "mod inner { use super::super::b::B; }",
        "#[cfg(not(test))] use crate::b::B;",
        "#[cfg(any(test, feature = \"x\"))] use crate::b::B;",
        "#[cfg(test)] fn f() {} use crate::b::B;",
        "#[cfg(test)] use std::{io, fmt}; use crate::b::B;",
    ] {
        assert_eq!(needs_of(text), ["a -> b"], "{text}");
    }
}

#[test]
fn what_only_looks_like_an_import_does_not_count() {
    for text in [
        "// use crate::b::B;",
        "/* use crate::b::B; /* */ fn f() { crate::b::make() } */",
        "//! See [`crate::b::B`].\n/// And [`crate::b::B`].\nstruct A;",
        "const TEXT: &str = \"use crate::b::B;\";",
        "const TEXT: &str = r#\"\"crate::b::B\"\"#;",
        "pub(in crate::b) struct A;",
        "#[cfg(test)] mod tests { use crate::b::B; }",
        "#[cfg(test)]\n/// Text.\n#[allow(unused)]\npub(super) mod tests { use crate::b::B; }",
        "#[cfg(test)] use crate::{b::B, a};",
        "#[cfg(all(test, target_os = \"linux\"))] fn f() { crate::b::make() }",
        "use ::b::B;",
        "use b::B;",
        "use other::crate_b::B; fn f() { B::make() }",
        "fn f() { x.b::<u8>(); T::b::make() }",
        "use crate::b;",
    ] {
        assert!(needs_of(text).is_empty(), "{text}: {:?}", needs_of(text));
    }
}

#[test]
fn a_file_of_tests_needs_nothing() {
    let text = "use crate::b::B;";
    let declared = "#[cfg(test)] mod tests; #[cfg(test)] mod laws;";
    let tests = [("src/a/tests.rs", text), ("src/a/laws.rs", text), ("src/a/laws/deep.rs", text)];
    assert!(needs(&[ROOT, ("src/a.rs", declared), B, tests[0], tests[1], tests[2]]).is_empty());
    let all = [ROOT, ("src/a.rs", "mod tests; mod laws;"), B, tests[0], tests[1]];
    assert_eq!(needs(&all), ["a/laws -> b", "a/tests -> b"]);
}

#[test]
fn a_re_export_is_followed_to_the_file_that_defines() {
    let parent = ("src/b/mod.rs", "mod c; mod d; pub use c::{C, D as E}; pub(crate) use d::*;");
    let c = ("src/b/c.rs", "pub struct C; pub use super::d::D;");
    let d = ("src/b/d.rs", "pub struct D; pub struct Of;");
    for (text, to) in [
        ("use crate::b::C;", "a -> b/c"),
        ("use crate::b::E;", "a -> b/d"),
        ("use crate::b::D;", "a -> b/d"),
        ("use crate::b::Of;", "a -> b/d"),
        ("use crate::b; fn f() { b::C::new() }", "a -> b/c"),
        ("use crate::C;", "a -> b/c"),
        // An item that only a macro can have made counts for the module that was named.
        ("use crate::b::Made;", "a -> b/mod"),
    ] {
        let root = ("src/lib.rs", "mod a; mod b; pub use b::C;");
        let all = needs(&[root, ("src/a.rs", text), parent, c, d]);
        // The import in `c` is of something that is not below it, so it counts.
        assert_eq!(all, [to, "b/c -> b/d"], "{text}");
    }
}

#[test]
fn a_re_export_is_a_need_when_the_name_is_used_too() {
    let child = ("src/b/c.rs", "pub struct C;");
    let shown = needs(&[ROOT, ("src/b/mod.rs", "mod c; pub use c::C;"), child]);
    assert!(shown.is_empty(), "{shown:?}");
    let used = "mod c; pub use c::C; fn f(_: C) {}";
    assert_eq!(needs(&[ROOT, ("src/b/mod.rs", used), child]), ["b/mod -> b/c"]);
    let function = ("src/b/c.rs", "pub fn make() {}");
    let method = "mod c; pub use c::make; fn f() { x.make() }";
    assert_eq!(needs(&[ROOT, ("src/b/mod.rs", method), function]), [""; 0]);
    let range = "mod c; pub use c::make; fn f() { 0..make() }";
    assert_eq!(needs(&[ROOT, ("src/b/mod.rs", range), function]), ["b/mod -> b/c"]);
    let private = "mod c; use c::C;";
    assert_eq!(needs(&[ROOT, ("src/b/mod.rs", private), child]), ["b/mod -> b/c"]);
}

#[test]
fn the_binary_is_another_crate() {
    let main = ("src/main.rs", "use ringd::b::B;");
    assert_eq!(needs(&[ROOT, main, B]), ["main -> b"]);
}

#[test]
fn a_struct_may_be_spread_over_the_files_beside_it() {
    let parent =
        ("src/b/mod.rs", "mod part; use part::Job; pub struct B(Job); pub enum DriverKind {}");
    let part = "pub struct Job; use super::B; impl<T: Fn() -> u8> B<T> { }";
    assert_eq!(needs(&[ROOT, parent, ("src/b/part.rs", part)]), ["b/mod -> b/part"]);
    let both = ["b/mod -> b/part", "b/part -> b/mod"];
    for part in [
        // Without an `impl` block, with one of a trait, and with another import besides.
        "pub struct Job; use super::B;",
        "pub struct Job; use super::B; impl Trait for B { }",
        "pub struct Job; use super::{B, DriverKind}; impl B { }",
    ] {
        assert_eq!(needs(&[ROOT, parent, ("src/b/part.rs", part)]), both, "{part}");
    }
    // Only beside a `mod.rs`.
    let file = ("src/b.rs", parent.1);
    let part = ("src/b/part.rs", "pub struct Job; use super::B; impl B { }");
    assert_eq!(needs(&[ROOT, file, part]), ["b -> b/part", "b/part -> b"]);
}

#[test]
fn a_cycle_is_found_and_described() {
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "use crate::b::B;\npub struct A;"),
        ("src/b.rs", "\nuse crate::c::C;\npub struct B;"),
        ("src/c.rs", "pub struct C(crate::a::A);"),
        // It imports the cycle and is not part of it.
        ("src/d.rs", "use crate::{a::A, c::C}; pub struct D;"),
    ];
    let found = cycles(&Crate::read(files).needs());
    assert_eq!(found.len(), 1, "{found:?}");
    let told = "3 files need each other: src/a.rs, src/b.rs, src/c.rs\
        \n    src/a.rs:1: crate::b::B is in src/b.rs\
        \n    src/b.rs:2: crate::c::C is in src/c.rs\
        \n    src/c.rs:1: crate::a::A is in src/a.rs";
    assert_eq!(found[0].to_string(), told);
    let mut open = files;
    open[3] = ("src/c.rs", "#[cfg(test)] mod tests { use crate::a::A; } pub struct C;");
    assert_eq!(cycles(&Crate::read(open).needs()), []);
}

#[test]
fn a_forbidden_import_is_found() {
    let status = ("src/http/semantics/status.rs", "pub enum Status { Ok }");
    let semantics = ("src/http/semantics/mod.rs", "pub mod status;");
    let http = ("src/http/mod.rs", "pub mod h1; pub mod semantics; pub use semantics::status::*;");
    let root = ("src/lib.rs", "mod driver; mod http; mod session;");
    let breaches = |file: &'static str, text: &'static str| {
        let found = forbidden(&Crate::read([root, http, semantics, status, (file, text)]));
        found.into_iter().map(|need| format!("{}:{}", need.from, need.line)).collect::<Vec<_>>()
    };
    let import = "\nuse crate::http::Status;";
    for file in ["src/session.rs", "src/driver/op.rs", "src/server/mod.rs", "src/http/mod2.rs"] {
        assert_eq!(breaches(file, import), [format!("{file}:2")]);
    }
    // A re-export hides nothing.
    assert_eq!(breaches("src/session.rs", "pub use crate::http::Status;"), ["src/session.rs:1"]);
    for file in ["src/http/h1/session.rs", "src/http/site/answer.rs", "src/cli/mod.rs"] {
        assert!(breaches(file, import).is_empty(), "{file}");
    }
    let comment =
        "// use crate::http::Status;\n#[cfg(test)] mod tests { use crate::http::Status; }";
    assert!(breaches("src/session.rs", comment).is_empty());
}

#[test]
fn the_longest_prefix_decides_the_part_of_a_file() {
    for (file, layer) in [
        ("src/lib.rs", Some("")),
        ("src/main.rs", Some("main")),
        ("src/driver/uring/mod.rs", Some("driver")),
        ("src/http/mod.rs", Some("http")),
        ("src/http/h1/head.rs", Some("http::h1")),
        ("src/session.rs", Some("session")),
        ("src/sessions.rs", None),
        ("src/new/mod.rs", None),
    ] {
        assert_eq!(layer_of(file), layer, "{file}");
    }
}

#[test]
fn a_use_of_the_kernel_is_found() {
    let found = |file: &'static str, text: &'static str| {
        let found = kernel_paths(&Crate::read([(file, text)]));
        found.into_iter().map(|(path, way)| format!("{} {way}", path.line)).collect::<Vec<_>>()
    };
    let file = "src/http/site/answer.rs";
    for (text, way) in [
        ("use std::fs;", "1 std::fs"),
        ("use std::{io, fs::File};", "1 std::fs"),
        ("\nfn f() { std::fs::read(path) }", "2 std::fs"),
        ("fn f(_: ::std::net::TcpStream) {}", "1 std::net::TcpStream"),
        ("use std::net; fn f(_: net::TcpStream) {}", "1 std::net::TcpStream"),
        ("use std::net::*;", "1 std::net::TcpListener"),
        ("use std::net::{SocketAddr, UdpSocket as Socket};", "1 std::net::UdpSocket"),
        ("const E: i32 = libc::EIO;", "1 libc"),
    ] {
        assert_eq!(found(file, text), [way], "{text}");
    }
    for text in [
        "use std::net::Ipv6Addr;",
        "use std::fmt; use std::io::*;",
        "#[cfg(test)] mod tests { use std::fs; }",
        "// std::fs::read\nconst TEXT: &str = \"libc::EIO\";",
        "use crate::libc_like::X;",
    ] {
        assert_eq!(found(file, text), [""; 0], "{text}");
    }
    assert_eq!(found("src/driver/sys.rs", "use std::fs;"), [""; 0]);
}
