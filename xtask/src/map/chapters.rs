//! What is written about the project beside the source.

use std::path::Path;

use super::house::House;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
/// Not a member of the workspace, but a room all the same.
const FUZZ: &str = "fuzz";

/// Crates without a heading in the architecture, and headings without a crate.
pub(super) fn described(house: &House) -> Vec<String> {
    let Some(text) = house.text(ARCHITECTURE) else {
        return vec![format!("there is no {ARCHITECTURE}")];
    };
    let headings: Vec<&str> = text.lines().filter_map(headed).collect();
    let folders: Vec<&str> = house
        .crates
        .iter()
        .map(|room| room.folder.as_str())
        .chain([FUZZ])
        .collect();
    let missing = folders.iter().filter(|folder| !headings.contains(folder));
    let stale = headings.iter().filter(|heading| !folders.contains(heading));
    missing
        .map(|folder| format!("{folder} has no heading \"### `{folder}`\""))
        .chain(stale.map(|heading| format!("the heading \"### `{heading}`\" has no crate")))
        .collect()
}

/// The folder in a heading such as ``### `crates/store` ``.
fn headed(line: &str) -> Option<&str> {
    line.strip_prefix("### `")?.strip_suffix('`')
}

/// Files in `changes/` without a word in them.
pub(super) fn changes(house: &House) -> Vec<String> {
    let notes = house
        .below("changes")
        .filter(|file| Path::new(&file.path).extension().is_some_and(|it| it == "md"));
    notes
        .filter(|file| file.text.trim().is_empty())
        .map(|file| format!("{} is empty", file.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::house::{Room, TextFile};
    use super::*;

    #[test]
    fn crates_and_headings_belong_together() {
        let text = "# Map\n### `crates/store`\n### `crates/attic`\n### `fuzz`\n".to_owned();
        let room = |folder: &str| Room {
            folder: folder.to_owned(),
            ..Room::default()
        };
        let house = House {
            crates: vec![room("crates/store"), room("crates/server")],
            files: vec![TextFile {
                path: ARCHITECTURE.to_owned(),
                text,
            }],
            ..House::default()
        };
        assert_eq!(
            described(&house),
            [
                "crates/server has no heading \"### `crates/server`\"",
                "the heading \"### `crates/attic`\" has no crate",
            ]
        );
    }

    #[test]
    fn a_change_of_blanks_is_empty() {
        let path = "changes/0007-nothing.md".to_owned();
        let house = House {
            files: vec![TextFile {
                path,
                text: " \n".to_owned(),
            }],
            ..House::default()
        };
        assert_eq!(changes(&house), ["changes/0007-nothing.md is empty"]);
    }
}
