//! Figures as a picture: two of them over the points of a scenario.

use anyhow::anyhow;
use plotters::prelude::*;

use crate::report::Row;

const SIZE: (u32, u32) = (900, 380);
/// For colour-blind eyes (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

/// One line: a target, and a value for each point.
struct Series {
    target: String,
    values: Vec<(f64, f64)>,
}

/// Two panels as SVG; `None` when there is nothing to show.
///
/// # Errors
/// Of the drawing library.
pub(crate) fn svg(
    axis: &str,
    names: [&'static str; 2],
    rows: &[Row],
) -> anyhow::Result<Option<String>> {
    let [first, second] = names.map(|name| series(rows, name));
    if first.is_empty() && second.is_empty() {
        return Ok(None);
    }
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        root.fill(&WHITE).map_err(|error| anyhow!("{error}"))?;
        let (left, right) = root.split_horizontally(SIZE.0 / 2);
        panel(&left, names[0], axis, &first)?;
        panel(&right, names[1], axis, &second)?;
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(Some(text))
}

fn series(rows: &[Row], name: &str) -> Vec<Series> {
    let count = rows.first().map_or(0, |row| row.cells.len());
    let line = |index: usize| {
        let cells = rows.iter().filter_map(|row| Some((row.x, row.cells.get(index)?)));
        let values = cells.map(|(x, cell)| (x, cell.median(name)));
        Some(Series {
            target: rows.first()?.cells.get(index)?.target.clone(),
            values: values.filter(|(_, value)| value.is_finite()).collect(),
        })
    };
    (0..count).filter_map(line).filter(|series| !series.values.is_empty()).collect()
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    axis: &str,
    series: &[Series],
) -> anyhow::Result<()> {
    let all = || series.iter().flat_map(|series| series.values.iter().copied());
    let right = all().map(|(x, _)| x).fold(0.0, f64::max) * 1.05 + f64::EPSILON;
    // The legend lies above the lines.
    let headroom = 1.1 + 0.1 * series.len() as f64;
    // A drift may be below zero, or nothing at all.
    let bottom = all().map(|(_, value)| value).fold(0.0, f64::min) * headroom;
    let top = all().map(|(_, value)| value).fold(0.0, f64::max) * headroom;
    let top = if top > bottom { top } else { 1.0 };
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("{error}");
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..right, bottom..top)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(axis)
        .x_label_formatter(&|x| x.to_string())
        .draw()
        .map_err(failed)?;
    for (series, colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let line = LineSeries::new(series.values.iter().copied(), colour.stroke_width(2));
        chart
            .draw_series(line)
            .map_err(failed)?
            .label(&series.target)
            .legend(|(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
        let points = series.values.iter().map(|point| Circle::new(*point, 3, colour.filled()));
        chart.draw_series(points).map_err(failed)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .draw()
        .map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::report;
    use crate::window::{CPU_PER_PACKET, VIDEO_P99};

    #[test]
    fn both_targets_are_in_both_panels() {
        let names = [CPU_PER_PACKET, VIDEO_P99];
        let text = svg("subscribers", names, &report::tests::rows()).unwrap().unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        assert_eq!(text.matches("theirs").count(), 2);
        assert_eq!(text.matches("<circle").count(), 8);
        assert_eq!(svg("subscribers", names, &[]).unwrap(), None);
        // A drift of one run: nothing, or below zero.
        for drift in [0.0, -1.6] {
            let mut rows = report::tests::rows();
            rows.truncate(1);
            let cells = rows.iter_mut().flat_map(|row| &mut row.cells);
            for outcome in cells.flat_map(|cell| &mut cell.outcomes) {
                outcome.figures.iter_mut().for_each(|(_, value)| *value = drift);
            }
            assert!(svg("minutes", names, &rows).unwrap().is_some());
        }
    }
}
