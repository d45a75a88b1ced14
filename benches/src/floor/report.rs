//! Medians and ranges of the floor, as a table and as JSON.

use std::io::Write as _;

use serde_json::{Value, json};

use super::sender::Shape;
use super::{Point, Sample, Series};
use crate::stats::median;

/// Median, least and most.
fn spread(samples: &[Sample], read: impl Fn(&Sample) -> f64) -> [f64; 3] {
    let values: Vec<f64> = samples.iter().map(read).collect();
    let least = values.iter().copied().fold(f64::NAN, f64::min);
    let most = values.iter().copied().fold(f64::NAN, f64::max);
    [median(&values), least, most]
}

impl Series {
    fn lost(&self) -> u64 {
        self.samples.iter().map(|sample| sample.lost).sum()
    }

    /// Does all that forwarding needs, through a plain socket.
    fn is_floor(&self) -> bool {
        self.step.seal && matches!(self.step.send, Some(method) if method.is_plain())
    }
}

impl Point {
    fn find(&self, name: &str, paced: bool) -> Option<&Series> {
        self.series.iter().find(|series| series.name == name && series.paced == paced)
    }

    /// The cheapest whole way.
    fn floor(&self, paced: bool) -> Option<(&'static str, [f64; 3])> {
        let ways = self.series.iter().filter(|series| series.paced == paced && series.is_floor());
        let ways = ways.map(|series| (series.name, spread(&series.samples, |sample| sample.us)));
        ways.min_by(|(_, a), (_, b)| a[0].total_cmp(&b[0]))
    }
}

fn cell(series: Option<&Series>) -> String {
    let Some(series) = series else { return format!("{:>28}", "-") };
    let [median, least, most] = spread(&series.samples, |sample| sample.us);
    let lost = if series.lost() > 0 { " LOST" } else { "" };
    let cell = format!("{median:.3} ({least:.3}-{most:.3}){lost}");
    format!("{cell:>28}")
}

/// The table of one number of receivers.
pub(super) fn print(point: &Point, shape: Shape) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    let Shape { burst, rate, .. } = shape;
    let (subscribers, datagram) = (point.subscribers, shape.datagram());
    let others = 100.0 * point.others;
    writeln!(
        out,
        "1 -> {subscribers}, {burst} x {datagram} bytes, {rate} times/s; others took {others:.0} %"
    )?;
    writeln!(out, "{:<28}{:>28}{:>28}", "CPU µs per datagram", "on schedule", "back to back")?;
    for series in point.series.iter().filter(|series| series.paced) {
        let name = series.name;
        let saturated = point.find(name, false);
        writeln!(out, "{name:<28}{}{}", cell(Some(series)), cell(saturated))?;
    }
    for (name, paced) in [("on schedule", true), ("back to back", false)] {
        if let Some((way, [median, ..])) = point.floor(paced) {
            writeln!(out, "floor {name}: {median:.3} µs ({way})")?;
        }
    }
    writeln!(out)
}

/// Everything: `floor` is what a server's figure may be divided by.
pub(super) fn json(points: &[Point], shape: Shape, gro: bool) -> Value {
    let command: Vec<String> = std::env::args().collect();
    let floor = |point: &Point, paced| {
        point.floor(paced).map(|(way, [median, min, max])| {
            json!({"way": way, "median_us": median, "min_us": min, "max_us": max})
        })
    };
    let series = |series: &Series| {
        let runs: Vec<f64> = series.samples.iter().map(|sample| sample.us).collect();
        let busy = spread(&series.samples, |sample| sample.busy)[0];
        json!({"way": series.name, "paced": series.paced, "us": runs, "busy": busy, "lost": series.lost()})
    };
    let points: Vec<Value> = points
        .iter()
        .map(|point| {
            json!({
                "subscribers": point.subscribers,
                "others": point.others,
                "floor": floor(point, true),
                "floor_saturated": floor(point, false),
                "series": point.series.iter().map(series).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "command": command,
        "machine": crate::report::machine(),
        "datagram_bytes": shape.datagram(),
        "burst": shape.burst,
        "frames_per_second": shape.rate,
        "gro": gro,
        "points": points,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::sender::{Method, Step};
    use super::*;

    fn series(name: &'static str, send: Method, us: &[f64]) -> Series {
        let sample = |us: &f64| Sample { us: *us, busy: 0.5, lost: 0 };
        let samples = us.iter().map(sample).collect();
        Series { name, step: Step { seal: true, send: Some(send) }, paced: true, samples }
    }

    #[test]
    fn the_floor_is_the_cheapest_plain_way_by_its_median() {
        let point = Point {
            subscribers: 1,
            others: 0.0,
            series: vec![
                series("single", Method::Single, &[3.0, 1.0, 9.0]),
                series("segmented", Method::Segmented, &[2.0, 2.5, 2.25, 2.75]),
                series("server", Method::Server, &[1.0]),
            ],
        };
        assert_eq!(point.floor(true), Some(("segmented", [2.375, 2.0, 2.75])));
        assert_eq!(point.floor(false), None);
    }
}
