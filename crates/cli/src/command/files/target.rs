//! Where a file goes that is fetched.

use std::path::PathBuf;

use anyhow::bail;

use crate::output;

/// Where a file goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    /// Under its own name, in this folder.
    Folder(PathBuf),
    File(PathBuf),
}

impl Target {
    pub(super) fn of(written: Option<PathBuf>) -> Self {
        match written {
            None => Self::Folder(PathBuf::new()),
            Some(path) if path.as_os_str() == "-" => Self::Stdout,
            Some(path) if path.is_dir() => Self::Folder(path),
            Some(path) => Self::File(path),
        }
    }

    /// The path for a file of this name, which others chose.
    pub(super) fn path(self, name: &str) -> anyhow::Result<PathBuf> {
        match self {
            Self::File(path) => Ok(path),
            Self::Folder(folder) => {
                if !is_plain(name) {
                    let name = output::printable_line(name);
                    bail!("{name:?} is no name for a file here: give a path for it");
                }
                Ok(folder.join(name))
            }
            Self::Stdout => bail!("there is no path for stdout"),
        }
    }
}

/// Whether a name that others chose stays in the folder and is what it shows: no path, nothing hidden, no controls.
fn is_plain(name: &str) -> bool {
    let odd = |character: char| {
        character.is_control()
            || matches!(character, '/' | '\\' | ':' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !name.starts_with(['.', '-']) && !name.is_empty() && !name.contains(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_others_chose_is_no_path() {
        let check = |name: &str, path: Option<&str>| {
            let target = Target::Folder(PathBuf::from("here"));
            assert_eq!(target.path(name).ok(), path.map(PathBuf::from), "{name}");
        };
        check("report.md", Some("here/report.md"));
        check("größe 1.csv", Some("here/größe 1.csv"));
        check("../report.md", None);
        check("/etc/passwd", None);
        check("a\\b", None);
        check("C:evil", None);
        check(".bashrc", None);
        check("..", None);
        check("-rf", None);
        check("a\nb", None);
        check("\u{202e}txt.exe", None);
        let given = Target::of(Some(PathBuf::from("copy.md")));
        assert_eq!(given.path("../x").unwrap(), PathBuf::from("copy.md"));
        assert_eq!(Target::of(Some(PathBuf::from("-"))), Target::Stdout);
    }
}
