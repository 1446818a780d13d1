//! Tables in Markdown.

use std::fmt::Write as _;

use crate::book::{Book, Figure, Measured};
use crate::measures::Section;

/// The numbers of a section, a row for each case and system.
pub(crate) fn markdown(book: &Book, section: Section) -> String {
    book.section(section).map(rows).unwrap_or_default()
}

fn rows(section: &Measured) -> String {
    let figures = &section.figures;
    let mut measures: Vec<(&str, &str)> = Vec::new();
    for figure in figures {
        if !measures.iter().any(|(measure, _)| *measure == figure.measure) {
            measures.push((&figure.measure, figure.unit.name()));
        }
    }
    let beside = section.section.beside();
    let mut text = "| | |".to_owned();
    for (measure, unit) in &measures {
        let separator = if unit.is_empty() { "" } else { ", " };
        write!(text, " {measure}{separator}{unit} |").expect("a string takes everything");
    }
    if let Some(beside) = beside {
        write!(text, " times {beside} |").expect("a string takes everything");
    }
    text.push_str("\n|---|---|");
    text.push_str(&"--:|".repeat(measures.len() + usize::from(beside.is_some())));
    text.push('\n');
    let mut told: Vec<(&str, &str)> = Vec::new();
    for Figure { case, system, .. } in figures {
        let row = (case.as_str(), system.as_str());
        if !told.contains(&row) {
            let behind = told.iter().rposition(|(other, _)| other == case);
            told.insert(behind.map_or(told.len(), |index| index + 1), row);
        }
    }
    let mut last = "";
    for (case, system) in told {
        let name = if case == last { "" } else { case };
        last = case;
        write!(text, "| {name} | {system} |").expect("a string takes everything");
        for (measure, _) in &measures {
            let value = section
                .figure(case, system, measure)
                .map(value)
                .unwrap_or_default();
            write!(text, " {value} |").expect("a string takes everything");
        }
        if let Some(beside) = beside {
            let ratio = ratio(section, case, system, beside).unwrap_or_default();
            write!(text, " {ratio} |").expect("a string takes everything");
        }
        text.push('\n');
    }
    text
}

/// The median, and what the runs are between.
fn value(figure: &Figure) -> String {
    let (least, most) = figure.range();
    let median = number(figure.median());
    if figure.runs.len() < 2 {
        return median;
    }
    format!("**{median}** ({}–{})", number(least), number(most))
}

/// How many times the value of the system beside it, in the first measure that both have.
fn ratio(measured: &Measured, case: &str, system: &str, beside: &str) -> Option<String> {
    let figure = measured
        .figures
        .iter()
        .find(|figure| figure.case == case && figure.system == system)?;
    let beside = measured.figure(case, beside, &figure.measure)?;
    Some(format!("{:.2}", figure.ratio_to(beside)))
}

/// Three digits and more, in groups.
pub(crate) fn number(value: f64) -> String {
    let digits = match value.abs() {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let whole = text.split('.').next().unwrap_or_default().len();
    let mut grouped = String::with_capacity(text.len() + whole / 3);
    for (index, digit) in text.chars().enumerate() {
        if 0 < index && index < whole && (whole - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_groups() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected);
        check(1.234, "1.23");
        check(12.34, "12.3");
        check(123.4, "123");
        check(1_234.0, "1,234");
        check(1_234_567.0, "1,234,567");
        check(0.0, "0.00");
    }
}
