//! The report: a table and a JSON document.

use lifeguard::cli::output;
use serde::Serialize;
use serde_json::{Value, json};
use statistics::MeasurementSummary;

/// A line of the report: a measurement beside its comparison.
#[derive(Debug, Clone)]
pub(crate) struct ReportRow {
    figure: &'static str,
    what: String,
    unit: &'static str,
    values: Vec<f64>,
    comparison: Option<RowComparison>,
    target: Option<FigureTarget>,
    note: Option<String>,
}

/// The comparison of a row, measured in the same run, one value per round.
#[derive(Debug, Clone, Serialize)]
struct RowComparison {
    what: String,
    values: Vec<f64>,
}

/// The target of a figure.
#[derive(Debug, Clone, Copy)]
pub(crate) enum FigureTarget {
    /// Maximum of the median.
    AtMost(f64),
    /// Minimum of the ratio of the medians.
    RatioAtLeast(f64),
    /// Maximum of the ratio of the medians.
    RatioAtMost(f64),
}

impl ReportRow {
    /// Creates a row of `figure` with one value per round.
    pub(crate) fn new(
        figure: &'static str,
        what: impl Into<String>,
        unit: &'static str,
        values: Vec<f64>,
    ) -> Self {
        Self { figure, what: what.into(), unit, values, comparison: None, target: None, note: None }
    }

    /// Adds the comparison.
    pub(crate) fn beside(mut self, what: impl Into<String>, values: Vec<f64>) -> Self {
        self.comparison = Some(RowComparison { what: what.into(), values });
        self
    }

    /// Sets the target.
    pub(crate) fn target(mut self, target: FigureTarget) -> Self {
        self.target = Some(target);
        self
    }

    /// Sets the note.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn summary(&self) -> Option<MeasurementSummary> {
        MeasurementSummary::of(&self.values)
    }

    /// The median divided by that of the comparison.
    fn ratio(&self) -> Option<f64> {
        let other = MeasurementSummary::of(&self.comparison.as_ref()?.values)?.median;
        Some(self.summary()?.median / other).filter(|ratio| ratio.is_finite())
    }

    /// Whether the target is met; `None` without a target or a value.
    fn is_met(&self) -> Option<bool> {
        Some(match self.target? {
            FigureTarget::AtMost(max) => self.summary()?.median <= max,
            FigureTarget::RatioAtLeast(min) => self.ratio()? >= min,
            FigureTarget::RatioAtMost(max) => self.ratio()? <= max,
        })
    }

    fn cells(&self) -> Vec<String> {
        let summary = self.summary();
        let with_unit = |value| format!("{} {}", number(value), self.unit).trim_end().to_owned();
        let compared = self.comparison.as_ref().and_then(|other| {
            Some(format!("{}: {}", other.what, with_unit(MeasurementSummary::of(&other.values)?.median)))
        });
        let target = self.target.map(|target| match target {
            FigureTarget::AtMost(max) => format!("≤ {}", with_unit(max)),
            FigureTarget::RatioAtLeast(min) => format!("≥ {} ×", number(min)),
            FigureTarget::RatioAtMost(max) => format!("≤ {} ×", number(max)),
        });
        let met = self.target.map(|_| match self.is_met() {
            None => "unknown",
            Some(true) => "yes",
            Some(false) => "NO",
        });
        vec![
            self.figure.to_owned(),
            self.what.clone(),
            summary.map_or_else(|| "—".to_owned(), |summary| with_unit(summary.median)),
            summary.map_or_else(String::new, |summary| {
                format!("{}–{}", number(summary.min), number(summary.max))
            }),
            compared.unwrap_or_default(),
            self.ratio().map(|ratio| format!("{} ×", number(ratio))).unwrap_or_default(),
            target.unwrap_or_default(),
            met.unwrap_or_default().to_owned(),
        ]
    }

    fn json(&self) -> Value {
        let target = self.target.map(|target| match target {
            FigureTarget::AtMost(value) => json!({ "of": "median", "at_most": value }),
            FigureTarget::RatioAtLeast(value) => json!({ "of": "ratio", "at_least": value }),
            FigureTarget::RatioAtMost(value) => json!({ "of": "ratio", "at_most": value }),
        });
        json!({
            "figure": self.figure, "what": self.what, "unit": self.unit, "values": self.values,
            "summary": self.summary(), "comparison": self.comparison,
            "comparison_summary": self.comparison.as_ref().and_then(|other| MeasurementSummary::of(&other.values)),
            "ratio": self.ratio(), "target": target, "is_met": self.is_met(), "note": self.note,
        })
    }
}

/// The report of a run.
#[derive(Debug, Default)]
pub(crate) struct BenchReport {
    rows: Vec<ReportRow>,
    /// Notes on whole figures.
    notes: Vec<(&'static str, String)>,
    /// Missing figures with reasons.
    missing: Vec<(&'static str, String)>,
}

impl BenchReport {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: ReportRow) {
        self.rows.push(row);
    }

    /// Adds a note on `figure`.
    pub(crate) fn note(&mut self, figure: &'static str, note: impl Into<String>) {
        self.notes.push((figure, note.into()));
    }

    /// Records why `figure` or a part of it is missing.
    pub(crate) fn add_missing(&mut self, figure: &'static str, why: impl Into<String>) {
        self.missing.push((figure, why.into()));
    }

    /// Formats the table, with the notes below it.
    pub(crate) fn table(&self) -> String {
        let heading =
            ["FIGURE", "WHAT", "MEDIAN", "MIN–MAX", "COMPARISON IN THE SAME RUN", "RATIO", "TARGET", "MET"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        rows.extend(self.rows.iter().map(ReportRow::cells));
        let mut text = output::table(&rows);
        let notes = self.rows.iter().filter_map(|row| {
            let note = row.note.as_ref()?;
            Some(format!("{}, {}: {note}", row.figure, row.what))
        });
        let of_figures = self.notes.iter().map(|(figure, note)| format!("{figure}: {note}"));
        let missing = self.missing.iter().map(|(figure, why)| format!("{figure}: no figure: {why}"));
        for (index, line) in of_figures.chain(notes).chain(missing).enumerate() {
            text.push_str(if index == 0 { "\n\n" } else { "\n" });
            text.push_str(&line);
        }
        text
    }

    /// Creates the JSON document; `about` describes the environment.
    pub(crate) fn json(&self, about: &Value) -> Value {
        let rows: Vec<Value> = self.rows.iter().map(ReportRow::json).collect();
        let to_json = |list: &[(&'static str, String)], key: &str| {
            let entry = |(figure, text): &(&'static str, String)| json!({ "figure": figure, key: text });
            list.iter().map(entry).collect::<Vec<Value>>()
        };
        json!({
            "about": about, "rows": rows, "notes": to_json(&self.notes, "note"), "missing": to_json(&self.missing, "why"),
        })
    }
}

/// Formats a number with three significant digits, and all digits before the decimal point.
fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = if size == 0.0 || size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else if size >= 1.0 {
        2
    } else {
        3
    };
    let text = format!("{value:.decimals$}");
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) = digits.split_at(digits.find('.').unwrap_or(digits.len()));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{sign}{grouped}{fraction}")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn report() -> BenchReport {
        let mut report = BenchReport::default();
        report.add(
            ReportRow::new("events", "256 in flight", "1/s", vec![41_000.0, 39_000.0, 42_000.0])
                .beside("pgbench, best", vec![10_000.0, 9_000.0])
                .target(FigureTarget::RatioAtLeast(4.5)),
        );
        report.add(
            ReportRow::new("handout", "p99", "ms", vec![2.345, 0.25])
                .target(FigureTarget::AtMost(10.0))
                .note("idle"),
        );
        report.add(ReportRow::new("start", "first due", "s", Vec::new()).target(FigureTarget::AtMost(5.0)));
        report.note("events", "pgbench, 1 client: 2000");
        report.add_missing("reading", "lists have no cursor");
        report
    }

    #[test]
    fn the_table_has_a_line_per_row_and_lists_missing_figures() {
        assert_snapshot!(report().table(), @"
        FIGURE   WHAT           MEDIAN      MIN–MAX        COMPARISON IN THE SAME RUN  RATIO   TARGET     MET
        events   256 in flight  41,000 1/s  39,000–42,000  pgbench, best: 9,500 1/s    4.32 ×  ≥ 4.50 ×   NO
        handout  p99            1.30 ms     0.250–2.35                                         ≤ 10.0 ms  yes
        start    first due      —                                                              ≤ 5.00 s   unknown

        events: pgbench, 1 client: 2000
        handout, p99: idle
        reading: no figure: lists have no cursor
        ");
    }

    #[test]
    fn the_document_has_every_value_and_the_verdict() {
        let json = report().json(&json!({ "quick": true }));
        assert_eq!(json["rows"][0]["values"], json!([41_000.0, 39_000.0, 42_000.0]));
        assert_eq!(json["rows"][0]["is_met"], json!(false));
        assert_eq!(json["rows"][1]["is_met"], json!(true));
        assert_eq!(json["rows"][2]["is_met"], Value::Null);
        assert_eq!(json["missing"], json!([{ "figure": "reading", "why": "lists have no cursor" }]));
        assert_eq!(json["about"]["quick"], json!(true));
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        let numbers = [0.0, 0.1234, 1.239, 12.34, 123.4, 1234.5, 1_234_567.0, -4321.0];
        assert_snapshot!(numbers.map(number).join(" "), @"0 0.123 1.24 12.3 123 1,234 1,234,567 -4,321");
    }
}
