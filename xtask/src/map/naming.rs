//! How files are named and what may not stand in them.

use std::path::Path;

use super::house::{House, TextFile};

/// Names that say nothing about what is inside; each such file has a better one.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "util", "utils"];

/// Types of `workspace` that know how to be written: crossing a wire is a conversion to a type of `protocol`.
pub(super) fn plain_workspace(house: &House) -> Vec<String> {
    let derives = |line: &str| {
        !line.trim_start().starts_with("//") && (line.contains("Serialize") || line.contains("Deserialize"))
    };
    let lines = house
        .below("crates/workspace/src")
        .flat_map(|file| file.text.lines().zip(1..).map(move |l| (file, l)));
    lines
        .filter(|(_, (line, _))| derives(line))
        .map(|(file, (line, number))| format!("{}:{number}: {}", file.path, line.trim()))
        .collect()
}

/// Manifests without `[lints] workspace = true`.
pub(super) fn shared_lints(house: &House) -> Vec<String> {
    let manifests = house
        .crates
        .iter()
        .map(|room| format!("{}/Cargo.toml", room.folder));
    manifests
        .filter(|path| {
            !house
                .text(path)
                .is_some_and(|text| text.contains("[lints]\nworkspace = true"))
        })
        .map(|path| format!("{path} has no `[lints] workspace = true`"))
        .collect()
}

/// Files named `mod.rs`.
pub(super) fn no_mod_rs(house: &House) -> Vec<String> {
    sources(house)
        .filter(|file| stem(file) == "mod")
        .map(|file| file.path.clone())
        .collect()
}

/// Source files whose own name, or that of a folder around them, says nothing.
pub(super) fn telling_names(house: &House) -> Vec<String> {
    let empty = |path: &str| {
        path.trim_end_matches(".rs")
            .split('/')
            .any(|part| EMPTY_NAMES.contains(&part))
    };
    sources(house)
        .filter(|file| empty(&file.path))
        .map(|file| file.path.clone())
        .collect()
}

fn sources(house: &House) -> impl Iterator<Item = &TextFile> {
    house.files.iter().filter(|file| {
        Path::new(&file.path)
            .extension()
            .is_some_and(|ending| ending == "rs")
    })
}

fn stem(file: &TextFile) -> &str {
    Path::new(&file.path)
        .file_stem()
        .and_then(|stem| stem.to_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn house(files: &[(&str, &str)]) -> House {
        let file = |&(path, text): &(&str, &str)| TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
        };
        House {
            files: files.iter().map(file).collect(),
            ..House::default()
        }
    }

    #[test]
    fn a_serializable_type_of_the_workspace_is_reported_with_its_line() {
        let source = "// Never Serialize.\n#[derive(Serialize)]\nstruct Member;\n";
        let house = house(&[
            ("crates/workspace/src/member.rs", source),
            ("crates/server/src/rest.rs", source),
        ]);
        assert_eq!(
            plain_workspace(&house),
            ["crates/workspace/src/member.rs:2: #[derive(Serialize)]"]
        );
    }

    #[test]
    fn empty_names_of_files_and_folders_are_reported() {
        let house = house(&[
            ("a/src/utils.rs", ""),
            ("a/src/common/x.rs", ""),
            ("a/src/commons.rs", ""),
        ]);
        assert_eq!(telling_names(&house), ["a/src/utils.rs", "a/src/common/x.rs"]);
    }

    #[test]
    fn a_mod_rs_is_reported() {
        let house = house(&[("a/src/x/mod.rs", ""), ("a/src/modern.rs", "")]);
        assert_eq!(no_mod_rs(&house), ["a/src/x/mod.rs"]);
    }
}
