//! Medians and ranges over the rounds, as a table and as JSON.

use std::process::Command;

use serde_json::{Value, json};

use crate::scenario::Outcome;
use crate::stats::median;
use crate::window::figure;

/// All rounds of one target at one point.
pub(crate) struct Cell {
    pub(crate) target: String,
    pub(crate) outcomes: Vec<Outcome>,
}

/// All targets at one point; the first is what the others are compared with.
pub(crate) struct Row {
    pub(crate) x: f64,
    pub(crate) label: String,
    pub(crate) cells: Vec<Cell>,
}

impl Cell {
    /// One value per round.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        self.outcomes.iter().map(|outcome| figure(&outcome.figures, name)).collect()
    }

    /// The middle of the rounds that count; of all when none does.
    pub(crate) fn median(&self, name: &str) -> f64 {
        let counts = |outcome: &&Outcome| outcome.objections.is_empty();
        let valid: Vec<f64> =
            self.outcomes.iter().filter(counts).map(|one| figure(&one.figures, name)).collect();
        if valid.is_empty() { median(&self.values(name)) } else { median(&valid) }
    }

    /// No round of it counts.
    pub(crate) fn is_invalid(&self) -> bool {
        self.outcomes.iter().all(|outcome| !outcome.objections.is_empty())
    }
}

/// Names of all figures, in the order of the first outcome that has them.
fn names(row: &Row) -> Vec<&'static str> {
    let mut names = Vec::new();
    let outcomes = row.cells.iter().flat_map(|cell| &cell.outcomes);
    for (name, value) in outcomes.flat_map(|outcome| &outcome.figures) {
        if value.is_finite() && !names.contains(name) {
            names.push(*name);
        }
    }
    names
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "-".to_owned(),
        100_000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// For people: of each target the median and the range of the rounds, and how it compares with the first.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text = String::new();
    for row in rows {
        text += &format!("\n{}\n{:<34}", row.label, "");
        for (index, cell) in row.cells.iter().enumerate() {
            let mark = if cell.is_invalid() { " (invalid)" } else { "" };
            text += &format!("{:>34}", format!("{}{mark}", cell.target));
            text += if index > 0 { "   x first" } else { "" };
        }
        text.push('\n');
        for name in names(row) {
            text += &format!("{name:<34}");
            for (index, cell) in row.cells.iter().enumerate() {
                let (middle, values) = (cell.median(name), cell.values(name));
                let least = values.iter().copied().fold(f64::NAN, f64::min);
                let most = values.iter().copied().fold(f64::NAN, f64::max);
                let range = format!("({} to {})", number(least), number(most));
                text += &format!("{:>12}{range:>22}", number(middle));
                if index > 0 {
                    let ratio = number(middle / row.cells[0].median(name));
                    text += &format!("{ratio:>10}");
                }
            }
            text.push('\n');
        }
        for cell in &row.cells {
            text += &remarks(cell);
        }
    }
    text
}

fn remarks(cell: &Cell) -> String {
    let mut text = String::new();
    for (round, outcome) in (1..).zip(&cell.outcomes) {
        if round == 1 {
            text += &format!("{}: {}\n", cell.target, outcome.profile);
        }
        if !outcome.objections.is_empty() {
            let why = outcome.objections.join(", ");
            text += &format!("{}, round {round} does not count: {why}\n", cell.target);
        }
        for note in &outcome.notes {
            text += &format!("{}, round {round}: {note}\n", cell.target);
        }
    }
    text
}

/// Everything, with the machine and the commit.
pub(crate) fn json(command: &[String], rows: &[Row]) -> Value {
    json!({
        "command": command,
        "machine": machine(),
        "points": rows.iter().map(row_json).collect::<Vec<_>>(),
    })
}

/// What the figures were measured on.
pub(crate) fn machine() -> Value {
    json!({
        "commit": output("git", &["describe", "--always", "--dirty"]),
        "kernel": output("uname", &["-sr"]),
        "processor": processor(),
    })
}

fn row_json(row: &Row) -> Value {
    let targets = row.cells.iter().map(|cell| {
        let figures = names(row).into_iter().map(|name| {
            (name.to_owned(), json!({"median": cell.median(name), "rounds": cell.values(name)}))
        });
        let rounds = cell.outcomes.iter().map(|outcome| {
            json!({
                "valid": outcome.objections.is_empty(), "objections": outcome.objections,
                "srtp": outcome.profile, "notes": outcome.notes,
            })
        });
        json!({
            "target": cell.target,
            "figures": figures.collect::<serde_json::Map<_, _>>(),
            "rounds": rounds.collect::<Vec<_>>(),
        })
    });
    json!({"point": row.label, "x": row.x, "targets": targets.collect::<Vec<_>>()})
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let count = info.lines().filter(|line| line.starts_with("processor")).count();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    format!("{count} x {}", name.unwrap_or("unknown"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::window::{CPU_PER_PACKET, VIDEO_P99};

    fn outcome(cpu: f64, objection: Option<&str>) -> Outcome {
        Outcome {
            figures: vec![(CPU_PER_PACKET, cpu), (VIDEO_P99, cpu * 2.0), ("nothing", f64::NAN)],
            objections: objection.map(str::to_owned).into_iter().collect(),
            profile: "GCM".to_owned(),
            notes: Vec::new(),
        }
    }

    /// Two targets at two points.
    pub(crate) fn rows() -> Vec<Row> {
        let cell = |target: &str, costs: &[f64]| Cell {
            target: target.to_owned(),
            outcomes: costs.iter().map(|cost| outcome(*cost, None)).collect(),
        };
        [(100.0, 2.0), (500.0, 1.5)]
            .map(|(x, cost)| Row {
                x,
                label: format!("{x} subscribers"),
                cells: vec![cell("ours", &[cost, cost + 1.0, cost + 2.0]), cell("theirs", &[24.0])],
            })
            .into()
    }

    #[test]
    fn the_table_has_medians_ranges_and_ratios() {
        let text = table(&rows());
        let line = text.lines().find(|line| line.starts_with(CPU_PER_PACKET)).unwrap_or_default();
        let words: Vec<&str> = line.split_ascii_whitespace().skip(5).collect();
        let expected =
            ["3.000", "(2.000", "to", "4.000)", "24.000", "(24.000", "to", "24.000)", "8.000"];
        assert_eq!(words, expected);
        assert!(!text.contains("nothing"));
    }

    #[test]
    fn rounds_that_do_not_count_are_shown_but_left_out() {
        let outcomes = vec![outcome(1.0, None), outcome(9.0, Some("loss")), outcome(2.0, None)];
        let cell = Cell { target: "ours".to_owned(), outcomes };
        assert_eq!((cell.median(CPU_PER_PACKET), cell.is_invalid()), (1.5, false));
        let row = Row { x: 1.0, label: "1".to_owned(), cells: vec![cell] };
        assert!(table(&[row]).contains("ours, round 2 does not count: loss"));
        let outcomes = vec![outcome(9.0, Some("loss"))];
        let cell = Cell { target: "ours".to_owned(), outcomes };
        assert_eq!((cell.median(CPU_PER_PACKET), cell.is_invalid()), (9.0, true));
    }

    #[test]
    fn the_json_has_every_round() {
        let value = json(&["bench".to_owned()], &rows());
        let figures = &value["points"][1]["targets"][0]["figures"];
        assert_eq!(figures[CPU_PER_PACKET]["rounds"], json!([1.5, 2.5, 3.5]));
        assert_eq!(figures[CPU_PER_PACKET]["median"], 2.5);
        assert_eq!(value["points"][0]["targets"][1]["rounds"][0]["valid"], true);
    }
}
