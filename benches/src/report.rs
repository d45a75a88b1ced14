//! Medians over the runs, as a table and as JSON.

use std::process::Command;

use serde_json::{Value, json};

use crate::scenario::Measured;

/// The value below which the share `q` of a sorted list lies; in ms, from ns.
fn quantile_ms(sorted: &[u64], q: f64) -> f64 {
    let rank = ((sorted.len() as f64 * q).ceil() as usize).saturating_sub(1);
    sorted.get(rank).map_or(f64::NAN, |ns| *ns as f64 / 1e6)
}

/// One row: its name and how to read it from a run.
type Row = (&'static str, fn(&Measured) -> f64);

const ROWS: [Row; 23] = [
    ("server CPU µs per packet", |m| m.cpu_us_per_packet),
    ("server busy %", |m| m.server_busy),
    ("others on its processor %", |m| m.others_busy),
    ("stolen from it %", |m| m.stolen),
    ("generator busy %", |m| m.generator_busy),
    ("packets per second", |m| m.received as f64 / m.seconds),
    ("loss %", |m| 100.0 * m.lost as f64 / (m.lost + m.received) as f64),
    ("resent packets", |m| m.repairs as f64),
    ("corrupt packets", |m| m.corrupt as f64),
    ("keyframe requests", |m| m.keyframe_requests as f64),
    ("video delay p50 ms", |m| quantile_ms(&m.delays[1], 0.5)),
    ("video delay p99 ms", |m| quantile_ms(&m.delays[1], 0.99)),
    ("video delay p99.9 ms", |m| quantile_ms(&m.delays[1], 0.999)),
    ("audio delay p50 ms", |m| quantile_ms(&m.delays[0], 0.5)),
    ("audio delay p99 ms", |m| quantile_ms(&m.delays[0], 0.99)),
    ("% of packets in runs of 1", |m| m.runs[0]),
    ("% in runs of 2", |m| m.runs[1]),
    ("% in runs of 3 and 4", |m| m.runs[2] + m.runs[3]),
    ("% in runs of 5", |m| m.runs[4]),
    ("% in longer runs", |m| m.runs[5..].iter().sum()),
    ("server memory MiB", |m| m.rss_after_kib as f64 / 1024.0),
    ("memory per joined KiB", |m| {
        m.rss_after_kib.saturating_sub(m.rss_before_kib) as f64 / m.joined.max(1) as f64
    }),
    ("join of all, s", |m| m.join_seconds),
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        0 if middle > 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values.get(middle).copied().unwrap_or(f64::NAN),
    }
}

/// The table: median, then each run. A row that does not apply is left out.
pub(crate) fn table(runs: &[Measured]) -> String {
    let mut table = format!("{:<28}{:>12}   each run\n", "", "median");
    for (name, read) in ROWS {
        let values: Vec<f64> = runs.iter().map(read).collect();
        if values.iter().any(|value| value.is_finite()) {
            let each: Vec<String> = values.iter().map(|value| format!("{value:.3}")).collect();
            table += &format!("{name:<28}{:>12.3}   {}\n", median(values), each.join("  "));
        }
    }
    let profile = runs.first().map_or("", |run| run.profile.as_str());
    table + &format!("{:<28}{profile:>12}\n", "SRTP")
}

/// Everything, with the machine and the commit.
pub(crate) fn json(command: &[String], runs: &[Measured]) -> Value {
    let figures = ROWS.iter().map(|(name, read)| {
        let values: Vec<f64> = runs.iter().map(read).collect();
        ((*name).to_owned(), json!({"median": median(values.clone()), "runs": values}))
    });
    json!({
        "command": command,
        "commit": output("git", &["describe", "--always", "--dirty"]),
        "kernel": output("uname", &["-sr"]),
        "processor": processor(),
        "srtp": runs.first().map(|run| run.profile.clone()),
        "figures": figures.collect::<serde_json::Map<_, _>>(),
    })
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
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        let sorted: Vec<u64> = (1..=100).map(|ms| ms * 1_000_000).collect();
        assert_eq!(quantile_ms(&sorted, 0.5), 50.0);
        assert_eq!(quantile_ms(&sorted, 0.99), 99.0);
        assert!(quantile_ms(&[], 0.5).is_nan());
    }
}
