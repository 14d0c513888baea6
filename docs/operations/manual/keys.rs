//! ringd.toml(5): the keys of the configuration file, from its schema.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use serde_json::Value;

/// `ringd config --schema`; a test keeps the two equal.
const SCHEMA: &str = include_str!("../../ringd.schema.json");

/// The tables in the order of the page: how one is begun in a file, and where the schema has it.
const TABLES: [(&str, &str); 10] = [
    ("Top of the file", ""),
    ("[server]", "/properties/server"),
    ("[[listen]]", "/properties/listen/items"),
    ("[admin]", "/properties/admin"),
    ("[log]", "/properties/log"),
    ("[site-defaults]", ""),
    ("[[site]]", "/properties/site/items"),
    ("fallback-root of a [[site]]", "/properties/site/items/properties/fallback-root"),
    ("[[site.redirect]]", "/properties/site/items/properties/redirect/items"),
    ("[[site.rewrite]]", "/properties/site/items/properties/rewrite/items"),
];

const EXAMPLE: &str = r#"[server]
listen = ":80"
driver = "auto"

[log]
access = "/var/log/ringd/access.log"

[admin]
listen = ["127.0.0.1:7899", "unix:/run/ringd/admin.sock"]

[[site]]
hosts = ["example.com", "www.example.com"]
default = true
root = "/srv/www"
clean-urls = true
cache-control = [{ glob = "/assets/**", value = "max-age=31536000" }]
"#;

/// Writes the page.
pub(crate) fn write(path: &Path) -> Result<(), Box<dyn Error>> {
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let mut page = Roff::new();
    page.control("TH", ["ringd.toml", "5", &super::date(), "ringd", super::MANUAL]);
    page.control("SH", ["NAME"]);
    page.text([roman("ringd.toml - the configuration file of ringd")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold("ringd -c "), italic("FILE")]);
    page.control("SH", ["DESCRIPTION"]);
    about(&mut page);
    page.control("SH", ["EXAMPLE"]);
    literal(&mut page, EXAMPLE);
    page.control("SH", ["KEYS"]);
    for (heading, place) in TABLES {
        page.control("SS", [heading]);
        if heading == "[site-defaults]" {
            page.text([roman(
                "The keys of a [[site]], except name, hosts, default, root, listen and \
                fallback-root, for all sites. A site's own value wins; rules of a site are added.",
            )]);
            continue;
        }
        let table = schema.pointer(place).ok_or("the schema has other tables than this page")?;
        let keys = table["properties"].as_object().ok_or("a table of the schema has no keys")?;
        keys.iter().for_each(|(name, key)| entry(&mut page, name, key));
    }
    let mut text = page.to_roff().into_bytes();
    see_also(&mut text, "ringd.toml")?;
    fs::write(path, text)?;
    Ok(())
}

fn about(page: &mut Roff) {
    let paragraphs: [&[Inline]; 5] = [
        &[
            roman("A file of TOML 1.0. No file is read without "),
            bold("-c"),
            roman(". Each key of an option is the long option of "),
            bold("ringd serve"),
            roman(" without its hyphens, with the same values, defaults and limits; "),
            bold("--no-x"),
            roman(" is "),
            bold("x = false"),
            roman("."),
        ],
        &[roman(
            "The most specific value applies: an option of the command line, then the \
                [[site]], then [site-defaults], then the default. Lists are continued instead.",
        )],
        &[
            roman("In texts, "),
            bold("${NAME}"),
            roman(" is a variable of the environment, "),
            bold("${NAME:-TEXT}"),
            roman(" has a default, and a dollar is written "),
            bold("$$"),
            roman(". Relative paths begin at the directory of the file."),
        ],
        &[
            bold("ringd check "),
            italic("FILE"),
            roman(" prints all mistakes at once. "),
            bold("ringd config -c "),
            italic("FILE"),
            roman(" prints the value of each key and where it is from. "),
            bold("ringd reload -c "),
            italic("FILE"),
            roman(" lets the server that runs read the file again."),
        ],
        &[roman("Times are written like 500ms, 10s or 2min, sizes like 8192, 16K or 1M.")],
    ];
    for (number, paragraph) in paragraphs.into_iter().enumerate() {
        if number > 0 {
            page.control("PP", []);
        }
        page.text(paragraph.to_vec());
    }
}

/// A key: its name, its values, and what its help says.
fn entry(page: &mut Roff, name: &str, key: &Value) {
    page.control("TP", []);
    let mut line = vec![bold(name), roman(" = "), italic(values(key))];
    if let Some(default) = key.get("default") {
        line.push(roman(format!(" (default: {default})")));
    }
    page.text(line);
    let help = key["description"].as_str().unwrap_or_default();
    for (number, paragraph) in help.split("\n\n").enumerate() {
        if number > 0 {
            page.control("IP", []);
        }
        // Lines that are indented are examples, so each line stays one.
        let mut lines = paragraph.lines().peekable();
        while let Some(text) = lines.next() {
            page.text([roman(text.trim())]);
            if lines.peek().is_some() {
                page.control("br", []);
            }
        }
    }
}

/// What the values of a key are, in words.
fn values(key: &Value) -> String {
    if let Some(choices) = key.get("enum").and_then(Value::as_array) {
        return choices.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(forms) = key.get("anyOf").and_then(Value::as_array) {
        let is_variable = |form: &Value| form.get("pattern").is_some();
        let mut words: Vec<String> =
            forms.iter().filter(|it| !is_variable(it)).map(values).collect();
        words.dedup();
        return words.join(" | ");
    }
    let kinds = match &key["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => vec![kind.as_str().unwrap_or("value")],
    };
    let word = |kind: &str| match kind {
        "string" => "text".to_owned(),
        "integer" => "number".to_owned(),
        "boolean" => "true | false".to_owned(),
        "object" if key.get("title").is_none() => "table".to_owned(),
        "array" => "[...]".to_owned(),
        other => other.to_owned(),
    };
    kinds.into_iter().map(word).collect::<Vec<_>>().join(" | ")
}

fn literal(page: &mut Roff, text: &str) {
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

/// Ends a page with the pages beside it.
pub(crate) fn see_also(text: &mut impl Write, name: &str) -> io::Result<()> {
    let others = ["ringd(1)", "ringd-serve(1)", "ringd-check(1)", "ringd-reload(1)"];
    let others = others.into_iter().chain(["ringd.toml(5)"]);
    let others: Vec<String> = others
        .filter_map(|other| other.split_once('('))
        .filter(|(other, _)| *other != name)
        .map(|(other, section)| format!(".BR {other} ({section}"))
        .collect();
    writeln!(text, ".SH SEE ALSO\n{}", others.join(" ,\n"))
}
