//! Metrics as text, for Prometheus: its own format, version 0.0.4, and OpenMetrics 1.0.
//!
//! The formats differ in the name of a counter, in the end of the text, and in the media type,
//! which Prometheus 3 requires to be right.

use std::fmt::{Display, Write};

use super::HistogramCounts;

/// The media type of the format of Prometheus.
pub const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The media type of OpenMetrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A text with metrics; see the module documentation.
#[derive(Debug)]
pub struct Exposition {
    text: String,
    is_open_metrics: bool,
    /// The name of the present family of metrics.
    name: &'static str,
    is_counter: bool,
}

impl Exposition {
    /// An empty text in one of the two formats.
    #[must_use]
    pub fn new(is_open_metrics: bool) -> Self {
        Self { text: String::new(), is_open_metrics, name: "", is_counter: false }
    }

    /// Begins a counter, a number that only grows. Its name has no `_total` here.
    pub fn counter(&mut self, name: &'static str, help: &str) {
        self.begin(name, "counter", help);
        self.is_counter = true;
    }

    /// Begins a gauge, a number that grows and falls.
    pub fn gauge(&mut self, name: &'static str, help: &str) {
        self.begin(name, "gauge", help);
    }

    /// Begins a histogram.
    pub fn histogram(&mut self, name: &'static str, help: &str) {
        self.begin(name, "histogram", help);
    }

    /// Adds a value of the counter or gauge that was begun last.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let suffix = if self.is_counter { "_total" } else { "" };
        self.line(suffix, labels, None, value);
    }

    /// Adds a distribution of the histogram that was begun last. Bounds and sum are divided by
    /// `per_unit`: metrics have base units, such as seconds.
    pub fn distribution<const COUNT: usize>(
        &mut self,
        labels: &[(&str, &str)],
        bounds: &[u64; COUNT],
        counts: &HistogramCounts<COUNT>,
        per_unit: f64,
    ) {
        let mut sum = 0;
        for (bound, count) in bounds.iter().zip(&counts.ranges) {
            sum += count;
            let bound = canonical(*bound as f64 / per_unit);
            self.line("_bucket", labels, Some(&bound), sum);
        }
        sum += counts.above;
        self.line("_bucket", labels, Some("+Inf"), sum);
        self.line("_sum", labels, None, counts.sum as f64 / per_unit);
        self.line("_count", labels, None, sum);
    }

    /// The text, and its media type.
    #[must_use]
    pub fn finish(mut self) -> (&'static str, String) {
        if self.is_open_metrics {
            self.text += "# EOF\n";
            return (OPEN_METRICS, self.text);
        }
        (PROMETHEUS, self.text)
    }

    fn begin(&mut self, name: &'static str, kind: &str, help: &str) {
        (self.name, self.is_counter) = (name, false);
        let suffix = if kind == "counter" && !self.is_open_metrics { "_total" } else { "" };
        let _ = writeln!(self.text, "# HELP {name}{suffix} {help}");
        let _ = writeln!(self.text, "# TYPE {name}{suffix} {kind}");
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: &[(&str, &str)],
        bound: Option<&str>,
        value: impl Display,
    ) {
        let bound = bound.map(|bound| ("le", bound));
        self.text += self.name;
        self.text += suffix;
        for (number, (name, value)) in labels.iter().copied().chain(bound).enumerate() {
            self.text.push(if number == 0 { '{' } else { ',' });
            self.text += name;
            self.text += "=\"";
            self.push_escaped(value);
            self.text.push('"');
        }
        if !labels.is_empty() || bound.is_some() {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }

    fn push_escaped(&mut self, value: &str) {
        for character in value.chars() {
            match character {
                '\\' => self.text += r"\\",
                '"' => self.text += "\\\"",
                '\n' => self.text += r"\n",
                character => self.text.push(character),
            }
        }
    }
}

/// A bound in the one spelling that OpenMetrics requires, so that a bound is the same text in all
/// programs: that of Go, with exponents of two digits.
fn canonical(bound: f64) -> String {
    if (1e-4..1e6).contains(&bound) {
        return format!("{bound:?}");
    }
    let text = format!("{bound:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{digits}e-{exponent:0>2}"),
            None => format!("{digits}e+{exponent:0>2}"),
        },
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(is_open_metrics: bool) -> (&'static str, String) {
        let mut exposition = Exposition::new(is_open_metrics);
        exposition.counter("a", "Things that happened.");
        exposition.sample(&[("x", "1"), ("y", "a\"\\\nb")], 7);
        exposition.sample(&[], 8);
        exposition.gauge("b", "Things that are.");
        exposition.sample(&[], 0.5);
        exposition.histogram("c_seconds", "How long it took.");
        let counts = HistogramCounts { ranges: [1, 2], above: 3, sum: 2_500_000 };
        exposition.distribution(&[("s", "t")], &[16, 1_000_000], &counts, 1e6);
        exposition.finish()
    }

    const AFTER_COUNTER: &str = "# HELP b Things that are.\n# TYPE b gauge\nb 0.5\n\
        # HELP c_seconds How long it took.\n# TYPE c_seconds histogram\n\
        c_seconds_bucket{s=\"t\",le=\"1.6e-05\"} 1\n\
        c_seconds_bucket{s=\"t\",le=\"1.0\"} 3\n\
        c_seconds_bucket{s=\"t\",le=\"+Inf\"} 6\n\
        c_seconds_sum{s=\"t\"} 2.5\nc_seconds_count{s=\"t\"} 6\n";

    #[test]
    fn metrics_are_written_for_prometheus() {
        let counter = "# HELP a_total Things that happened.\n# TYPE a_total counter\n\
            a_total{x=\"1\",y=\"a\\\"\\\\\\nb\"} 7\na_total 8\n";
        assert_eq!(text(false), (PROMETHEUS, format!("{counter}{AFTER_COUNTER}")));
    }

    #[test]
    fn metrics_are_written_as_open_metrics() {
        let counter = "# HELP a Things that happened.\n# TYPE a counter\n\
            a_total{x=\"1\",y=\"a\\\"\\\\\\nb\"} 7\na_total 8\n";
        assert_eq!(text(true), (OPEN_METRICS, format!("{counter}{AFTER_COUNTER}# EOF\n")));
    }

    #[test]
    fn bounds_are_spelled_as_in_go() {
        for (bound, text) in [
            (0.000_016, "1.6e-05"),
            (0.000_256, "0.000256"),
            (1.048_576, "1.048576"),
            (67.0, "67.0"),
            (262_144.0, "262144.0"),
            (1_048_576.0, "1.048576e+06"),
            (67_108_864.0, "6.7108864e+07"),
        ] {
            assert_eq!(canonical(bound), text);
        }
    }
}
