//! The status as a page of HTML. It has no scripts, and loads itself again from time to time.

use std::fmt::Write;

use super::report::{Report, Table};
use crate::http::site::listing::HtmlText;

/// What a browser may do with the page: show it, with the style that is in it.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                                 form-action 'none'; frame-ancestors 'none'; \
                                 img-src data:";

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#d9d4c7;--soft:#5a616b;--card:#f3f0e8;--alarm:#b3261e;\
--back:#fbfaf6;--text:#1d2126}\
@media(prefers-color-scheme:dark){:root{--line:#353b41;--soft:#a1a8b0;--card:#1c2024;\
--alarm:#ff8a80;--back:#14171a;--text:#e7e4dc}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:75rem;padding:1rem;background:var(--back);color:var(--text);\
font:15px/1.45 system-ui,sans-serif}\
h1{font-size:1.3rem;margin:.2rem 0 1rem}h2{font-size:1rem;margin:1.6rem 0 .5rem}\
.alarm{border-left:4px solid var(--alarm);background:var(--card);padding:.6rem .8rem;\
margin:.5rem 0}\
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(10rem,1fr));gap:.5rem;margin:0}\
dl div{background:var(--card);border-radius:.4rem;padding:.5rem .7rem;min-width:0}\
dt{color:var(--soft);font-size:.8rem}dd{margin:0;overflow-wrap:anywhere;\
font-variant-numeric:tabular-nums}\
.tables{display:flex;flex-wrap:wrap;column-gap:3rem}section{max-width:100%}\
.wide{overflow-x:auto}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}\
th,td{border-bottom:1px solid var(--line);padding:.3rem .8rem;text-align:right}\
th{color:var(--soft);font-weight:500}\
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;\
overflow-wrap:break-word;min-width:5.5rem;max-width:18rem}\
.long{text-align:left;white-space:normal;overflow-wrap:anywhere;min-width:15rem}\
.note{margin:.8rem 0;color:var(--soft)}a{color:inherit}\
:focus-visible{outline:2px solid;outline-offset:2px}";

/// After how many seconds a browser loads the page again.
const AGAIN_AFTER: u32 = 5;

/// The page.
pub(super) fn write(report: &Report) -> String {
    let title = text(&report.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"{AGAIN_AFTER}\">\n\
         <link rel=\"icon\" href=\"data:,\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n<main>\n<h1>{title}</h1>\n"
    );
    for alarm in &report.alarms {
        let _ = writeln!(page, "<p class=\"alarm\" role=\"alert\">{}</p>", text(alarm));
    }
    page.push_str("<dl>\n");
    for (name, value) in &report.figures {
        let _ = writeln!(page, "<div><dt>{}</dt><dd>{}</dd></div>", text(name), text(value));
    }
    let _ = writeln!(
        page,
        "</dl>\n<p class=\"note\">This page loads itself again every {AGAIN_AFTER} seconds. The \
         same numbers for programs: <a href=\"/status.json\">status.json</a> and \
         <a href=\"/metrics\">metrics</a>.</p>\n<div class=\"tables\">"
    );
    for table in &report.tables {
        write_table(&mut page, table);
    }
    page.push_str("</div>\n</main>\n");
    page
}

fn write_table(page: &mut String, table: &Table) {
    let title = text(table.title);
    let _ = writeln!(page, "<section><h2>{title}</h2>\n<div class=\"wide\" tabindex=\"0\"><table>");
    let classes: Vec<&str> = (0..table.columns.len())
        .map(|column| if table.is_long(column) { " class=\"long\"" } else { "" })
        .collect();
    page.push_str("<thead><tr>");
    for (column, class) in table.columns.iter().zip(&classes) {
        let _ = write!(page, "<th scope=\"col\"{class}>{}</th>", text(column));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        page.push_str("<tr>");
        for (cell, class) in row.iter().zip(&classes) {
            // A hash is broken between its bytes.
            let pause = if class.is_empty() { ":" } else { ":<wbr>" };
            let cell = text(cell).to_string().replace(':', pause);
            let _ = write!(page, "<td{class}>{cell}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody></table></div></section>\n");
}

fn text(text: &str) -> HtmlText<'_> {
    HtmlText(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_broken_between_its_bytes() {
        let hash = ["AB"; 32].join(":");
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let table = Table {
            title: "Certificates",
            columns: vec!["names", "valid until", "SHA-256"],
            rows: vec![row(["a.example", "12:00", &hash]), row(["<b>", "", ""])],
        };
        let mut page = String::new();
        write_table(&mut page, &table);
        for words in [
            "<th scope=\"col\">valid until</th><th scope=\"col\" class=\"long\">SHA-256</th>",
            "<td>12:00</td><td class=\"long\">AB:<wbr>AB:<wbr>AB",
            "<tr><td>&lt;b&gt;</td><td></td><td class=\"long\"></td></tr>",
        ] {
            assert!(page.contains(words), "{words} is not in:\n{page}");
        }
    }
}
