//! The page about performance: prose by hand, with regions that are made from the numbers.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};

use crate::book::Book;
use crate::plot::{self, Plot};
use crate::{table, targets};

/// The folder beside the page with its plots, and the numbers that it is made from.
const PLOTS: &str = "performance";
const FIGURES: &str = "figures.json";

/// Brings the page up to date with what was measured now, and before where it was not measured now.
pub(crate) fn write(page: &Path, mut book: Book) -> Result<()> {
    let folder = page.parent().context("the page is in a folder")?;
    std::fs::create_dir_all(folder.join(PLOTS))?;
    let figures = folder.join(PLOTS).join(FIGURES);
    if let Ok(text) = std::fs::read_to_string(&figures) {
        book.complete_from(serde_json::from_str(&text).context("reading the numbers of before")?);
    }
    std::fs::write(&figures, serde_json::to_string(&book)? + "\n")?;
    let mut text = std::fs::read_to_string(page).context("reading the page")?;
    for measured in &book.sections {
        let name = measured.section.name();
        let table = table::markdown(&book, measured.section);
        let mut region = format!("{table}\n<sub>{}</sub>\n", measured.machine);
        for Plot { title, file } in plot::draw(measured, &folder.join(PLOTS))? {
            writeln!(region, "\n![{title}]({PLOTS}/{file})").expect("a string takes everything");
        }
        text = replace(&text, name, &region)?;
    }
    text = replace(&text, "targets", &targets::markdown(&book))?;
    std::fs::write(page, text).context("writing the page")
}

/// Puts another text between the marks of a region.
fn replace(page: &str, name: &str, text: &str) -> Result<String> {
    let begin = format!("<!-- measured: {name} -->\n");
    let end = "<!-- end -->";
    let from = page
        .find(&begin)
        .with_context(|| format!("the page has no region {name}"))?
        + begin.len();
    let length = page[from..]
        .find(end)
        .with_context(|| format!("the region {name} has no end"))?;
    Ok(format!("{}{text}{}", &page[..from], &page[from + length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let page = "a\n<!-- measured: x -->\nold\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        let expected = "a\n<!-- measured: x -->\nnew\n<!-- end -->\nb\n<!-- measured: y -->\n<!-- end -->\n";
        assert_eq!(replace(page, "x", "new\n").expect("a region"), expected);
        assert!(replace(page, "z", "").is_err());
    }
}
