//! Plots as SVG.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;

use crate::book::{Figure, Measured};
use crate::measures::{self, Section};
use crate::table::number;

const SIZE: (u32, u32) = (760, 380);
/// Of the systems, in the order in which they are drawn.
const COLOURS: [RGBColor; 6] = [
    RGBColor(31, 119, 180),
    RGBColor(214, 39, 40),
    RGBColor(44, 160, 44),
    RGBColor(148, 103, 189),
    RGBColor(255, 127, 14),
    RGBColor(90, 90, 90),
];
const FONT: &str = "sans-serif";

/// A plot that was drawn.
pub(crate) struct Plot {
    pub(crate) title: String,
    /// The name of its file.
    pub(crate) file: String,
}

/// Draws what a section has, into a folder: curves over sizes, and bars for the cases where systems stand side by side.
pub(crate) fn draw(measured: &Measured, folder: &Path) -> Result<Vec<Plot>> {
    let mut plots = Vec::new();
    for (title, lines) in curves(measured) {
        let plot = Plot::new(measured.section, &title);
        draw_curves(&folder.join(&plot.file), &plot.title, &lines)?;
        plots.push(plot);
    }
    for (case, bars) in bars(measured) {
        let plot = Plot::new(measured.section, case);
        draw_bars(&folder.join(&plot.file), &plot.title, &bars)?;
        plots.push(plot);
    }
    Ok(plots)
}

impl Plot {
    fn new(section: Section, title: &str) -> Self {
        let word = |letter: char| {
            if letter.is_ascii_alphanumeric() {
                letter.to_ascii_lowercase()
            } else {
                '-'
            }
        };
        let words: String = title.chars().map(word).collect();
        let words: Vec<&str> = words.split('-').filter(|word| !word.is_empty()).collect();
        Self {
            title: title.to_owned(),
            file: format!("{section}-{}.svg", words.join("-")),
        }
    }
}

/// A line: who, and the values over the sizes.
type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// The curves of a section: figures whose cases differ in a number alone.
fn curves(measured: &Measured) -> Vec<(String, Vec<Line<'_>>)> {
    let mut curves: Vec<(String, Vec<Line<'_>>)> = Vec::new();
    let sized = measured
        .figures
        .iter()
        .filter(|figure| !figure.measure.starts_with("p9"));
    for figure in sized {
        let Some(size) = figure.size else { continue };
        let title = format!(
            "{}: {}, {}",
            of_any_size(&figure.case, size),
            figure.measure,
            figure.unit.name()
        );
        let index = curves
            .iter()
            .position(|(known, _)| *known == title)
            .unwrap_or_else(|| {
                curves.push((title, Vec::new()));
                curves.len() - 1
            });
        let lines = &mut curves[index].1;
        match lines.iter_mut().find(|(system, _)| *system == figure.system) {
            Some((_, points)) => points.push((size, figure.median())),
            None => lines.push((&figure.system, vec![(size, figure.median())])),
        }
    }
    curves.retain(|(_, lines)| lines.iter().all(|(_, points)| 2 < points.len()));
    curves
}

/// A case without its size, which is the last number in it.
fn of_any_size(case: &str, size: f64) -> String {
    case.rsplit_once(&size.to_string())
        .map_or_else(|| case.to_owned(), |(before, after)| format!("{before}…{after}"))
}

/// Bars: who, and how much in which unit.
type Bars<'a> = Vec<(&'a str, f64, &'static str)>;

fn bars(measured: &Measured) -> Vec<(&str, Bars<'_>)> {
    let cases: &[&str] = match measured.section {
        Section::Latency => &[measures::latency::REST, measures::latency::LOADED],
        Section::Rate => &[
            measures::rate::ONE,
            measures::rate::PIPELINED,
            measures::rate::MANY_PIPELINED,
        ],
        _ => &[],
    };
    let bar = |figure: &'_ Figure| figure.measure == "p50" || figure.measure == "messages";
    let of_case = |case: &&'static str| {
        let figures = measured
            .figures
            .iter()
            .filter(|figure| figure.case == **case && bar(figure));
        let bars: Vec<_> = figures
            .map(|figure| (figure.system.as_str(), figure.median(), figure.unit.name()))
            .collect();
        (*case, bars)
    };
    cases
        .iter()
        .map(of_case)
        .filter(|(_, bars)| !bars.is_empty())
        .collect()
}

fn draw_curves(path: &Path, title: &str, lines: &[Line<'_>]) -> Result<()> {
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let points = || lines.iter().flat_map(|(_, points)| points);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(70)
        .build_cartesian_2d(
            around(points().map(|point| point.0)).log_scale(),
            around(points().map(|point| point.1)).log_scale(),
        )?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|value| number(*value))
        .y_label_formatter(&|value| number(*value))
        .draw()?;
    for ((system, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
            .label(*system)
            .legend(|(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], colour.filled()));
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.2))
        .label_font((FONT, 14))
        .draw()?;
    root.present()?;
    Ok(())
}

fn draw_bars(path: &Path, title: &str, bars: &Bars<'_>) -> Result<()> {
    const HEIGHT: u32 = 34;
    let count = u32::try_from(bars.len())?;
    let root = SVGBackend::new(path, (SIZE.0, 80 + HEIGHT * count)).into_drawing_area();
    root.fill(&WHITE)?;
    let values = around(bars.iter().map(|bar| bar.1));
    let left = values.start;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 18))
        .margin(14)
        .x_label_area_size(30)
        .build_cartesian_2d(values.log_scale(), f64::from(count)..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|value| number(*value))
        .draw()?;
    for (index, (system, value, unit)) in (0..count).zip(bars) {
        let top = f64::from(index);
        let colour = COLOURS[usize::try_from(index)? % COLOURS.len()].mix(0.45);
        chart.draw_series([Rectangle::new(
            [(left, top + 0.1), (*value, top + 0.9)],
            colour.filled(),
        )])?;
        let label = format!("{system}: {} {unit}", number(*value));
        chart.draw_series([Text::new(label, (left * 1.04, top + 0.35), (FONT, 14))])?;
    }
    root.present()?;
    Ok(())
}

/// A range with room around all values.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (least, most) = (least.min(value), most.max(value));
    }
    let least = least.max(1e-3);
    least / 1.6..most.max(least) * 1.6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_after_what_it_shows() {
        let file = Plot::new(Section::Fanout, "100 posts to … agents: deliveries, /s").file;
        assert_eq!(file, "fanout-100-posts-to-agents-deliveries-s.svg");
    }

    #[test]
    fn the_size_in_a_case_is_left_out() {
        assert_eq!(
            of_any_size("100 posts to 10 agents", 10.0),
            "100 posts to … agents"
        );
        assert_eq!(
            of_any_size("10000 connected agents", 10_000.0),
            "… connected agents"
        );
    }
}
