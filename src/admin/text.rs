//! The status as plain text, for `curl` and for `watch curl`.

use std::fmt::Write;

use super::report::{Report, Table};

/// The text, with its last line feed.
pub(super) fn write(report: &Report) -> String {
    let mut text = format!("{}\n", report.title);
    for alarm in &report.alarms {
        let _ = writeln!(text, "! {alarm}");
    }
    let width = report.figures.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
    for (name, value) in &report.figures {
        let _ = writeln!(text, "{name:width$}  {value}");
    }
    for table in &report.tables {
        let _ = writeln!(text, "\n{}", table.title);
        write_table(&mut text, table);
    }
    text
}

fn write_table(text: &mut String, table: &Table) {
    let head: Vec<String> = table.columns.iter().map(|&column| column.to_owned()).collect();
    let lines: Vec<&Vec<String>> = std::iter::once(&head).chain(&table.rows).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| lines.iter().map(|line| width(&line[column])).max().unwrap_or(0))
        .collect();
    for line in lines {
        let mut written = String::from(" ");
        for (column, cell) in line.iter().enumerate() {
            let room = " ".repeat(widths[column] - width(cell));
            let _ = match column {
                0 => write!(written, " {cell}{room}"),
                _ if table.is_long(column) => write!(written, "  {cell}{room}"),
                _ => write!(written, "  {room}{cell}"),
            };
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
}

/// How many columns of a terminal a text has. Names of sites are ASCII, and so is nearly all else.
fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a long text stands above its begin, where a reader looks for it.
    #[test]
    fn a_long_text_begins_below_its_head() {
        let hash = "AB".repeat(32);
        let rows = [["a", "1", &hash]].map(|row| row.map(str::to_owned).to_vec()).to_vec();
        let table = Table { title: "", columns: vec!["name", "days", "SHA-256"], rows };
        let mut text = String::new();
        write_table(&mut text, &table);
        assert_eq!(text, format!("  name  days  SHA-256\n  a        1  {hash}\n"));
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [["a", "1"], ["long", "1,000"]];
        let table = Table {
            title: "Things",
            columns: vec!["name", "number"],
            rows: rows.map(|row| row.map(str::to_owned).to_vec()).to_vec(),
        };
        let report = Report {
            title: "ringd".to_owned(),
            alarms: vec!["Fire.".to_owned()],
            figures: vec![("Up", "1s".to_owned()), ("Requests", "3".to_owned())],
            tables: vec![table],
        };
        let figures = "ringd\n! Fire.\nUp        1s\nRequests  3\n";
        let table = "\nThings\n  name  number\n  a          1\n  long   1,000\n";
        assert_eq!(write(&report), [figures, table].concat());
    }
}
