//! Pictures of a run: bitrates, the layer shown with its freezes, and the queue, over time. `tests/.out/adapt/*.svg`.

use super::measure::Playback;
use super::scenario::{Meeting, Sample};
use crate::net::{MS, Micros, SECOND};
use std::fmt::Write as _;
use std::path::PathBuf;

const WIDTH: f64 = 1000.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
/// Top and height of the three parts.
const BITRATE: (f64, f64) = (60.0, 260.0);
const LAYER: (f64, f64) = (370.0, 90.0);
const QUEUE: (f64, f64) = (510.0, 120.0);
const HEIGHT: f64 = 670.0;
/// The sent bitrate is averaged over so many samples: frames and samples are not in step.
const SMOOTH: usize = 5;

/// A part of the picture: values from 0 to `max` over `seconds`.
struct Part {
    place: (f64, f64),
    from: Micros,
    until: Micros,
    max: f64,
}

impl Part {
    fn x(&self, at: Micros) -> f64 {
        let share = (at.saturating_sub(self.from)) as f64 / (self.until - self.from) as f64;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let (top, height) = self.place;
        top + height * (1.0 - (value / self.max).min(1.0))
    }

    fn text(svg: &mut String, x: f64, y: f64, anchor: &str, color: &str, text: &str) {
        let _ = writeln!(
            svg,
            "<text x='{x:.1}' y='{y:.1}' text-anchor='{anchor}' fill='{color}'>{text}</text>"
        );
    }

    /// Frame, grid and labels: `lines` values with their names.
    fn frame(&self, svg: &mut String, title: &str, lines: &[(f64, String)]) {
        let (top, height) = self.place;
        let (width, y) = (WIDTH - LEFT - RIGHT, top);
        let _ = writeln!(
            svg,
            "<rect x='{LEFT}' y='{y}' width='{width}' height='{height}' fill='none' stroke='#999'/>"
        );
        Self::text(svg, LEFT, top - 8.0, "start", "#222", title);
        for (value, name) in lines {
            let y = self.y(*value);
            let x = WIDTH - RIGHT;
            let _ = writeln!(svg, "<path d='M{LEFT} {y:.1}H{x}' stroke='#ddd'/>");
            Self::text(svg, LEFT - 6.0, y + 4.0, "end", "#555", name);
        }
        let step =
            [1, 2, 5, 10, 20].into_iter().find(|s| (self.until - self.from) / (s * SECOND) <= 16);
        let step = step.unwrap_or(60) * SECOND;
        for at in (0..=self.until - self.from).step_by(step as usize) {
            let x = self.x(self.from + at);
            let _ = writeln!(svg, "<path d='M{x:.1} {top}v{height}' stroke='#eee'/>");
            let label = format!("{} s", at / SECOND);
            Self::text(svg, x, top + height + 14.0, "middle", "#555", &label);
        }
    }

    fn line(&self, svg: &mut String, color: &str, points: impl Iterator<Item = (Micros, f64)>) {
        let points: String =
            points.map(|(at, value)| format!("{:.1},{:.1} ", self.x(at), self.y(value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points='{}' fill='none' stroke='{color}' stroke-width='1.5'/>",
            points.trim_end()
        );
    }
}

/// Round numbers up to `max`, about four of them.
fn grid(max: f64) -> Vec<f64> {
    let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    let step = steps.into_iter().find(|step| max / step <= 5.0).unwrap_or(1000.0);
    (0..=(max / step) as usize).map(|i| i as f64 * step).collect()
}

fn bitrates(svg: &mut String, samples: &[Sample], range: (Micros, Micros)) {
    let mbps = |bits: u64| bits as f64 / 1e6;
    let highest = |of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap_or(0);
    let sent: Vec<u64> = (0..samples.len())
        .map(|i| {
            let part = &samples[i.saturating_sub(SMOOTH - 1)..=i];
            part.iter().map(|sample| sample.sent).sum::<u64>() / part.len() as u64
        })
        .collect();
    let capacity = highest(|s| s.capacity);
    let others = highest(|s| s.estimate.unwrap_or(0)).max(sent.iter().copied().max().unwrap_or(0));
    // A link that is never full would press all else to the ground.
    let max = mbps(others.max(capacity.min(others * 5 / 4))) * 1.05;
    let part = Part { place: BITRATE, from: range.0, until: range.1, max };
    let lines: Vec<_> = grid(max).into_iter().map(|v| (v, format!("{v}"))).collect();
    part.frame(svg, "Mbit/s", &lines);
    let steps = samples.windows(2).flat_map(|pair| {
        [(pair[0].at, mbps(pair[0].capacity)), (pair[1].at, mbps(pair[0].capacity))]
    });
    part.line(svg, "#444", steps);
    part.line(svg, "#2a9d3a", samples.iter().zip(&sent).map(|(s, sent)| (s.at, mbps(*sent))));
    part.line(svg, "#bbb", samples.iter().map(|s| (s.at, mbps(s.allocated))));
    let known = samples.iter().filter_map(|s| Some((s.at, mbps(s.estimate?))));
    part.line(svg, "#1f5fd0", known);
    if highest(|s| s.download) > 0 {
        let download = samples.chunks(SMOOTH).map(|part| {
            let sum: u64 = part.iter().map(|sample| sample.download).sum();
            (part[0].at, mbps(sum / part.len() as u64))
        });
        part.line(svg, "#d07020", download);
        Part::text(svg, WIDTH - RIGHT - 380.0, BITRATE.0 - 8.0, "start", "#d07020", "download");
    }
    let names =
        [("capacity", "#444"), ("estimate", "#1f5fd0"), ("allocated", "#999"), ("sent", "#2a9d3a")];
    for (index, (name, color)) in names.into_iter().enumerate() {
        let x = WIDTH - RIGHT - 300.0 + index as f64 * 80.0;
        Part::text(svg, x, BITRATE.0 - 8.0, "start", color, name);
    }
}

fn layers(svg: &mut String, playback: &Playback, range: (Micros, Micros)) {
    let part = Part { place: LAYER, from: range.0, until: range.1, max: 3.2 };
    let names = ["q", "h", "f"];
    let lines: Vec<_> = (1..).zip(names).map(|(v, name)| (f64::from(v), name.to_owned())).collect();
    let frozen: Micros = playback.freezes.iter().map(|f| f.end - f.start).sum();
    let title =
        format!("layer shown, {} freezes of {} ms in all", playback.freezes.len(), frozen / MS);
    part.frame(svg, &title, &lines);
    let (top, height) = LAYER;
    for freeze in &playback.freezes {
        let (x, end) = (part.x(freeze.start), part.x(freeze.end));
        let width = (end - x).max(1.0);
        let _ = writeln!(
            svg,
            "<rect x='{x:.1}' y='{top}' width='{width:.1}' height='{height}' fill='#e33' fill-opacity='0.35'/>"
        );
    }
    let value = |layer: u8| f64::from(layer) + 1.0;
    let steps = playback
        .shown
        .windows(2)
        .flat_map(|pair| [(pair[0].at, value(pair[0].layer)), (pair[1].at, value(pair[0].layer))]);
    part.line(svg, "#7b2fbf", steps);
}

fn queues(svg: &mut String, samples: &[Sample], playback: &Playback, range: (Micros, Micros)) {
    let late = playback.shown.iter().map(|f| (f.at, (f.at - f.capture) as f64 / MS as f64));
    let longest = samples.iter().map(|s| s.queue).max().unwrap_or(0) as f64 / MS as f64;
    let max = late.clone().map(|(_, ms)| ms).fold(longest, f64::max).clamp(20.0, 1000.0) * 1.05;
    let part = Part { place: QUEUE, from: range.0, until: range.1, max };
    let lines: Vec<_> = grid(max).into_iter().map(|v| (v, format!("{v}"))).collect();
    part.frame(svg, "ms from capture to the screen, and in the link's queue", &lines);
    part.line(svg, "#e08a00", late);
    part.line(svg, "#b02020", samples.iter().map(|s| (s.at, s.queue as f64 / MS as f64)));
}

/// Draws what one viewer had, and returns where.
pub(super) fn draw(meeting: &Meeting, viewer: usize, name: &str) -> PathBuf {
    let there = &meeting.viewers[viewer];
    let range = (there.joined, meeting.world.now);
    let playback = Playback::of(meeting, viewer);
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' \
         font-family='sans-serif' font-size='12'>\n<rect width='100%' height='100%' fill='white'/>\n"
    );
    Part::text(&mut svg, LEFT, 24.0, "start", "#000", name);
    bitrates(&mut svg, &there.samples, range);
    layers(&mut svg, &playback, range);
    queues(&mut svg, &there.samples, &playback, range);
    svg.push_str("</svg>\n");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".out/adapt");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{}.svg", name.replace([' ', ',', '/'], "_")));
    std::fs::write(&file, svg).unwrap();
    file
}
