//! The report as one page of HTML, which needs no other file and has no scripts, so a person can
//! send it to a colleague.

use std::fmt::{self, Write as _};
use std::io;

use super::dots::{Dot, DotRow, Measure, dot_rows, heading, microseconds, short_name, tick};
use super::idle_chart::{IdleChart, idle_chart};
use super::plot;
use super::report::{BenchReport, CellReport};
use super::stats::{BenchVerdict, Comparison};

const STYLE: &str = include_str!("page.css");

/// The most characters of a name beside the chart, and the least distance of two numbers below it
/// as a part of its width, so that they fit on a phone.
const NAME_MAX: usize = 13;
const COLUMN_GAP: f64 = 0.22;

/// Classes of colours. Further servers begin again with the first one.
const COLOURS: usize = plot::COLOURS.len();

/// How to read the rows that have the CPU time.
const CPU: &str = "The number is the CPU time of the server for one answer: less is better. ";

/// How to read those that do not have it.
const RATE: &str = "In rows where the CPU time of a server is not known, the number is that of \
answers per second: more is better. ";

const HOW_TO_READ: &str = "\
Each row has an axis of its own, which begins at 0. The first server is the reference, and the \
thin band around it is 1 % wide on each side. The line through a dot is the interval of its \
difference to the reference, with a confidence of at least 95 %. If the line reaches the \
reference, or the dot is in the band, it is a <em>tie</em> and the dot is hollow: the measurement \
shows no difference, or one that does not matter. A percentage is \
how much more (+) or less (−) that is than the number of the reference.</p>\
<p class=note>All numbers are medians over the rounds, with one exception: CPU time and answers \
per second of a server are those of the reference, times the median of their ratios.</p>";

/// What the arrow is, in reports that have one.
const CUT: &str = "\
<p class=note>A line that ends in an arrow goes on beyond the picture: the rounds are too few, or \
differ too much, to show more.</p>";

/// What the star is, in reports that have one.
const CLIENT_BOUND: &str = "\
<p class=note>* The client was fully busy and the server was not: the client limits the rate. The \
CPU time is valid.</p>\n";

const SIDES: &str = "\
<p class=note>† Over loopback, the kernel charges the work of a transfer now to one side, now to \
the other. In these rows, the CPU time of the server shows an order that both sides together \
do not show, so do not judge by it alone.</p>";

/// Writes a report as a page.
///
/// # Errors
///
/// When it cannot be written.
pub fn write_page(report: &BenchReport, out: &mut impl io::Write) -> io::Result<()> {
    out.write_all(page(report).map_err(io::Error::other)?.as_bytes())
}

fn page(report: &BenchReport) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(64 * 1024);
    write!(
        out,
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
         <meta name=viewport content=\"width=device-width, initial-scale=1\">\n\
         <title>ringd bench</title>\n<style>\n{STYLE}</style>\n<main>\n<h1>ringd bench</h1>\n\
         <p class=note>{}<br>{}",
        Text(&report.machine.describe()),
        Text(&report.circumstances())
    )?;
    if let Some(tls) = &report.tls {
        write!(out, "<br>{}", Text(&tls.describe()))?;
    }
    out.push_str("</p>\n");
    doubts(report, &mut out)?;
    summary(report, &mut out)?;
    let chart = idle_chart(report);
    chart.as_ref().map_or(Ok(()), |chart| idle(chart, &mut out))?;
    let rows = dot_rows(report, chart.as_ref());
    if !rows.is_empty() {
        let has = |measure| rows.iter().any(|row| row.measure == measure);
        let cpu = if has(Measure::Cpu) { CPU } else { "" };
        let rate = if has(Measure::Rate) { RATE } else { "" };
        let cut = if rows.iter().any(DotRow::has_cut) { CUT } else { "" };
        let heading = heading(&rows);
        write!(out, "<h2>{heading}</h2>\n<p>{cpu}{rate}{HOW_TO_READ}{cut}\n<div class=rows>\n")?;
        rows.iter().try_for_each(|row| dots(row, &mut out))?;
        out.push_str("</div>\n");
    }
    wakes(report, &mut out)?;
    out.push_str("<h2>All numbers</h2>\n<details><summary>Tables</summary>\n");
    report.rows.iter().try_for_each(|row| table(row, &mut out))?;
    if report.rows.iter().any(|row| row.results.iter().any(|it| it.stats.client_bound)) {
        out.push_str(CLIENT_BOUND);
    }
    out.push_str("</details>\n</main>\n</html>\n");
    Ok(out)
}

/// Escapes a text for HTML, also in quotes.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|it| match it {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            other => f.write_char(other),
        })
    }
}

fn doubts(report: &BenchReport, out: &mut String) -> fmt::Result {
    if report.doubts.is_empty() {
        return Ok(());
    }
    out.push_str("<div class=panel><strong>Reasons to doubt these numbers</strong><ul>");
    report.doubts.iter().try_for_each(|it| write!(out, "<li>{}</li>", Text(it)))?;
    out.push_str("</ul></div>\n");
    Ok(())
}

/// How often each server is better than the first one, and the remarks.
fn summary(report: &BenchReport, out: &mut String) -> fmt::Result {
    let first = report.servers.first().map_or("", String::as_str);
    if report.servers.len() > 1 {
        out.push_str("<h2>In short</h2>\n<ul>");
    }
    for server in report.servers.iter().skip(1) {
        let results = report.rows.iter().flat_map(|row| &row.results);
        let own = results.filter(|result| result.server == *server);
        let verdicts: Vec<BenchVerdict> =
            own.filter_map(|result| Some(result.comparison?.cpu?.verdict)).collect();
        if verdicts.is_empty() {
            let (server, first) = (Text(server), Text(first));
            write!(
                out,
                "<li><strong>{server}</strong> is not compared with {first}: no row has the CPU \
                 time of both.</li>"
            )?;
            continue;
        }
        let count = |wanted| verdicts.iter().filter(|it| **it == wanted).count();
        write!(
            out,
            "<li>Rows in which <strong>{}</strong> needs less CPU time than {}: {}; more: {}; no \
             difference shown (ties): {}",
            Text(server),
            Text(first),
            count(BenchVerdict::Less),
            count(BenchVerdict::More),
            count(BenchVerdict::Tie)
        )?;
        match count(BenchVerdict::Unknown) {
            0 => out.push_str(".</li>"),
            unknown => write!(out, "; too few rounds: {unknown}.</li>")?,
        }
    }
    if report.servers.len() > 1 {
        out.push_str("</ul>\n");
    }
    if !report.remarks.is_empty() {
        out.push_str("<div class=panel><strong>Read with care</strong><ul>");
        for remark in &report.remarks {
            let mark = if remark.is_of_sides { "† " } else { "" };
            write!(out, "<li>{mark}{}.</li>", Text(&remark.text))?;
        }
        out.push_str("</ul>");
        if report.remarks.iter().any(|remark| remark.is_of_sides) {
            out.push_str(SIDES);
        }
        out.push_str("</div>\n");
    }
    Ok(())
}

fn dots(row: &DotRow, out: &mut String) -> fmt::Result {
    let place = |value: f64| 100.0 * value / row.max;
    writeln!(out, "<div class=row><h3>{}</h3>", Text(&row.title))?;
    for dot in &row.dots {
        server(row, dot, out)?;
    }
    for (name, holds) in &row.too_small {
        writeln!(out, "<div class=small>{} holds {holds} connections.</div>", Text(name))?;
    }
    out.push_str("<div class=axis aria-hidden=true>");
    for value in &row.ticks {
        write!(out, "<span style=\"left:{:.2}%\">{}</span>", place(*value), tick(*value))?;
    }
    writeln!(out, "<span class=unit>{}</span></div></div>", row.measure.unit())
}

fn server(row: &DotRow, dot: &Dot, out: &mut String) -> fmt::Result {
    let place = |value: f64| (100.0 * value / row.max).clamp(0.0, 100.0);
    let colour = dot.server % COLOURS;
    let tie = if dot.verdict == Some(BenchVerdict::Tie) { " tie" } else { "" };
    let mark = if dot.is_marked { " †" } else { "" };
    write!(
        out,
        "<div class=server style=\"--own:var(--c{colour})\"><span class=name>{0}{mark}</span>\
         <span class=value>{1}</span><div class=\"track s{colour}{tie}\" aria-hidden=true>",
        Text(&dot.name),
        Text(&dot.label)
    )?;
    for value in &row.ticks {
        write!(out, "<i class=tick style=\"left:{:.2}%\"></i>", place(*value))?;
    }
    let mut span = |class, (low, high)| {
        let (left, width) = (place(low), place(high) - place(low));
        write!(out, "<i class={class} style=\"left:{left:.2}%;width:{width:.2}%\"></i>")
    };
    row.band.map_or(Ok(()), |band| span("band", band))?;
    dot.interval.map_or(Ok(()), |interval| span("interval", interval))?;
    if row.is_cut(dot) {
        out.push_str("<i class=cut></i>");
    }
    writeln!(out, "<i class=dot style=\"left:{:.2}%\"></i></div></div>", place(dot.value))
}

fn idle(chart: &IdleChart, out: &mut String) -> fmt::Result {
    out.push_str(
        "<h2>CPU time beside idle connections</h2>\n<p>One connection is busy, and gets one answer \
         after the other. The others have had an answer and are idle. Both axes are logarithmic. A \
         line that ends early ends where the driver holds no more connections.</p>\n\
         <div class=chart role=img aria-label=\"CPU time per answer by idle connections\">",
    );
    for (level, at) in &chart.levels {
        let top = 100.0 * (1.0 - at);
        write!(out, "<i class=level style=\"top:{top:.2}%\"><span>{} µs</span></i>", tick(*level))?;
    }
    for (count, at) in chart.written_columns(COLUMN_GAP) {
        write!(out, "<span class=column style=\"left:{:.2}%\">{count}</span>", 100.0 * at)?;
    }
    out.push_str("<svg viewBox=\"0 0 100 100\" preserveAspectRatio=none aria-hidden=true>");
    for line in &chart.lines {
        write!(out, "<polyline class=s{} points=\"", line.server % COLOURS)?;
        for (x, y, _) in &line.points {
            write!(out, "{:.2},{:.2} ", 100.0 * x, 100.0 * (1.0 - y))?;
        }
        out.push_str("\"/>");
    }
    out.push_str("</svg>");
    for line in &chart.lines {
        let class = line.server % COLOURS;
        for (x, y, value) in &line.points {
            let (left, top) = (100.0 * x, 100.0 * (1.0 - y));
            write!(
                out,
                "<i class=\"point s{class}\" style=\"left:{left:.2}%;top:{top:.2}%\" \
                 title=\"{}: {} µs\"></i>",
                Text(&line.name),
                microseconds(*value)
            )?;
        }
        let top = 100.0 * (1.0 - line.label_at);
        let holds = line.holds.map_or_else(String::new, |it| format!(", holds {it} connections"));
        let (name, short) = (Text(&line.name), short_name(&line.name, NAME_MAX));
        let short = Text(&short);
        write!(
            out,
            "<span class=\"end s{class}\" style=\"top:{top:.2}%\" title=\"{name}{holds}\">{short}"
        )?;
        match line.holds {
            None => out.push_str("</span>"),
            Some(holds) => write!(out, " <small>to {holds}</small></span>")?,
        }
    }
    out.push_str("<span class=title>idle connections</span></div>\n");
    Ok(())
}

fn wakes(report: &BenchReport, out: &mut String) -> fmt::Result {
    if report.wakes.is_empty() {
        return Ok(());
    }
    out.push_str(
        "<h2>What a sleeping client adds</h2>\n<p>A server that wakes a sleeping client pays for \
         it, in a virtual machine with an interrupt to another core. The numbers are the CPU time \
         of the server per answer in µs.</p>\n<div class=scroll tabindex=0><table>\
         <tr><th>row<th>server\
         <th>awake<th>asleep<th>ratio</tr>\n",
    );
    for wake in &report.wakes {
        writeln!(
            out,
            "<tr><td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
            Text(&wake.cell.to_string()),
            Text(&wake.server),
            microseconds(wake.awake_microseconds),
            microseconds(wake.asleep_microseconds),
            ratio(&wake.comparison)
        )?;
    }
    out.push_str("</table></div>\n");
    Ok(())
}

fn table(row: &CellReport, out: &mut String) -> fmt::Result {
    writeln!(
        out,
        "<div class=scroll tabindex=0><table><caption>{}</caption>\
         <tr><th>server<th>answers/s<th>CPU µs\
         <th>both µs<th>p50 µs<th>p99 µs<th>p99.9 µs<th>calls<th>subm.<th>ratio of CPU<th>of both\
         </tr>",
        Text(&row.cell.to_string())
    )?;
    let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), microseconds);
    let of = |it: Option<Comparison>| it.map_or_else(String::new, |it| ratio(&it));
    for result in &row.results {
        let typical = &result.stats.typical;
        let star = if result.stats.client_bound { " *" } else { "" };
        let counts = |value: Option<f64>| value.map_or_else(|| "-".into(), |it| format!("{it:.2}"));
        writeln!(
            out,
            "<tr><td>{}<td>{:.0}{star}<td>{}<td>{}<td>{:.0}<td>{:.0}<td>{:.0}<td>{}<td>{}<td>{}\
             <td>{}</tr>",
            Text(&result.server),
            typical.requests_per_second,
            number(typical.cpu_microseconds),
            number(typical.both_cpu_microseconds),
            typical.p50_microseconds,
            typical.p99_microseconds,
            typical.p999_microseconds,
            counts(typical.system_calls),
            counts(typical.submissions),
            of(result.comparison.and_then(|it| it.cpu)),
            of(result.comparison.and_then(|it| it.both)),
        )?;
    }
    out.push_str("</table></div>\n");
    Ok(())
}

fn ratio(comparison: &Comparison) -> String {
    let Comparison { ratio, interval, verdict } = comparison;
    let word = match verdict {
        BenchVerdict::Less => " less",
        BenchVerdict::More => " more",
        BenchVerdict::Tie => " tie",
        BenchVerdict::Unknown => "",
    };
    let interval = interval.map(|(low, high)| format!(" [{low:.2}..{high:.2}]"));
    format!("{ratio:.2}{}{word}", interval.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::made_report::{NAMES, report, row, row_of, trial};
    use crate::bench::plan::{ClientWait, Shape, grid, idle_grid, with_clients};
    use crate::bench::stats::BenchTrial;

    #[test]
    fn a_page_has_every_part_and_escapes_names() {
        let clients = [ClientWait::Awake, ClientWait::Asleep];
        let cells = with_clients(&grid(&[1024], &[64], &[Shape::KeepAlive]), &clients);
        let idle = idle_grid(&[1, 10, 100]);
        let same = [(10.0, 20.0, 1000.0), (8.0, 30.0, 1000.0), (9.0, 20.0, 1000.0)];
        let rows = cells.iter().chain(&idle).map(|cell| row(*cell, &same)).collect();
        let page = page(&report(rows)).unwrap();
        for words in [
            "What a sleeping client adds",
            "CPU time beside idle connections",
            "Read with care",
            "to 100</small>",
            "http://a.example/&lt;b&gt;",
        ] {
            assert!(page.contains(words), "{words} is not in:\n{page}");
        }
        assert!(!page.contains(NAMES[2]), "{page}");
        assert!(page.contains("<h2>CPU time per answer (less") && !page.contains(RATE), "{page}");
        for tag in ["div", "table", "ul", "svg", "details", "span"] {
            let count = |text: &str| page.matches(text).count();
            let opened = count(&format!("<{tag}>")) + count(&format!("<{tag} "));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag} in:\n{page}");
        }
    }

    /// The processes of the other server may not be inspected.
    #[test]
    fn a_server_whose_cpu_time_is_not_known_has_no_ties() {
        let cell = grid(&[1024], &[64], &[Shape::KeepAlive])[0];
        let known = trial((10.0, 20.0, 1000.0));
        let unknown = BenchTrial { cpu_microseconds: None, both_cpu_microseconds: None, ..known };
        let servers = [known, known, unknown].map(|trial| vec![trial; 6]);
        let page = page(&report(vec![row_of(cell, servers.to_vec())])).unwrap();
        for words in [
            "<strong>epoll</strong> needs less CPU time than uring: 0; more: 0; no difference",
            "/&lt;b&gt;</strong> is not compared with uring: no row has the CPU time of both.",
            "<h2>Answers per second (more is better)</h2>",
            RATE,
        ] {
            assert!(page.contains(words), "{words} is not in:\n{page}");
        }
        assert!(!page.contains(CPU), "{page}");
    }

    #[test]
    fn each_tick_has_its_number_and_a_cut_interval_an_arrow() {
        let cell = grid(&[1024], &[64], &[Shape::KeepAlive])[0];
        let rounds = |cpu: [f64; 6]| cpu.map(|cpu| trial((cpu, 1.0, 100.0))).to_vec();
        for (others, arrows) in [([2.0, 10.0, 60.0, 9.0, 11.0, 10.0], 1), ([10.0; 6], 0)] {
            let servers = vec![rounds([10.0; 6]), rounds(others), rounds([11.0; 6])];
            let report = report(vec![row_of(cell, servers)]);
            let page = page(&report).unwrap();
            assert_eq!(page.matches("<i class=cut>").count(), arrows, "{page}");
            assert_eq!(page.contains(CUT), arrows > 0, "{page}");
            let axis = page.split_once("class=axis").unwrap().1;
            let axis = axis.split_once("</div>").unwrap().0;
            let ticks = dot_rows(&report, None)[0].ticks.len();
            assert_eq!(axis.matches("<span style").count(), ticks, "{axis}");
        }
    }

    /// The two pictures have the same colours.
    #[test]
    fn the_colours_are_those_of_the_plot() {
        let (light, dark) = STYLE.split_once("prefers-color-scheme: dark").unwrap();
        for (number, (in_light, in_dark)) in plot::COLOURS.iter().enumerate() {
            for (style, colour) in [(light, in_light), (dark, in_dark)] {
                let rule = format!("--c{number}: {colour};");
                assert!(style.contains(&rule), "{rule} is not in:\n{style}");
            }
        }
        assert!(!STYLE.contains(&format!("--c{COLOURS}:")));
    }
}
