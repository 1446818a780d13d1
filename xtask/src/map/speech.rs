//! The project speaks only of itself: nothing in it depends on, or tells of, the machine it was written on.

use super::house::{House, TextFile};

/// First folders of paths that exist on one machine only.
const MACHINE_FOLDERS: &[&str] = &["Users", "home", "root", "work"];

/// Where packages come from is the business of whoever builds; cargo and pip know their defaults.
const REGISTRY_WORDS: &[&str] = &[
    "files.pythonhosted.org",
    "index-url",
    "index.crates.io",
    "proxy.golang.org",
    "pypi.org/simple",
    "registry.npmjs.org",
    "replace-with",
    "static.crates.io",
];

/// Files written by a package manager, which name the public registries by design.
const LOCK_FILES: &[&str] = &["Cargo.lock", "package-lock.json", "uv.lock"];

/// Hosts that a lock file may name.
const PUBLIC_HOSTS: &[&str] = &[
    "files.pythonhosted.org",
    "github.com",
    "opencollective.com",
    "pypi.org",
    "registry.npmjs.org",
];

/// Machine paths and registries in text files. This file alone is left out, since it has to name them.
pub(super) fn only_of_itself(house: &House) -> Vec<String> {
    house
        .files
        .iter()
        .filter(|file| file.path != file!())
        .flat_map(strangers)
        .collect()
}

fn strangers(file: &TextFile) -> Vec<String> {
    let name = file.path.rsplit('/').next().unwrap_or_default();
    let find = if LOCK_FILES.contains(&name) {
        unknown_host
    } else {
        stranger
    };
    let lines = file.text.lines().zip(1..);
    lines
        .filter_map(|(line, number)| find(line).map(|found| format!("{}:{number}: {found}", file.path)))
        .collect()
}

fn stranger(line: &str) -> Option<String> {
    let path = MACHINE_FOLDERS
        .iter()
        .map(|folder| format!("/{folder}/"))
        .find(|path| has_path(line, path));
    path.or_else(|| {
        REGISTRY_WORDS
            .iter()
            .find(|word| line.contains(**word))
            .map(|&word| word.to_owned())
    })
}

/// Whether a path starts in this line with `start`: after a letter or a dot it would be the middle of another.
fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(index, _)| {
        let before = line[..index].chars().next_back();
        !before
            .is_some_and(|before| before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '*' | '}'))
    })
}

fn unknown_host(line: &str) -> Option<String> {
    let hosts = line.match_indices("://").map(|(index, separator)| {
        let rest = &line[index + separator.len()..];
        rest.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-'))
            .next()
            .unwrap_or_default()
    });
    hosts
        .filter(|host| !PUBLIC_HOSTS.contains(host))
        .map(str::to_owned)
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_machine_are_strangers_and_parts_of_other_paths_are_not() {
        let check =
            |line: &str, expected: Option<&str>| assert_eq!(stranger(line).as_deref(), expected, "{line}");
        check("see /home/someone/notes", Some("/home/"));
        check("\"/root/.cache\"", Some("/root/"));
        check("file:///work/tree", Some("/work/"));
        check("our/work/is done", None);
        check("https://example.org/home/page", None);
        check("the /workspace/ route", None);
        check("index-url = somewhere", Some("index-url"));
    }

    #[test]
    fn lock_files_name_public_hosts_only() {
        assert_eq!(
            unknown_host("source = \"registry+https://github.com/rust-lang/crates.io-index\""),
            None
        );
        assert_eq!(
            unknown_host("resolved \"http://mirror.example:8080/x.tgz\"").as_deref(),
            Some("mirror.example")
        );
    }
}
