//! What the rules look at: the crates with what they depend on, and the files of the project.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::place::Place;
use crate::program::Program;

/// The project, read once for all rules.
#[derive(Debug, Default)]
pub(super) struct House {
    /// Our own crates.
    pub(super) crates: Vec<Room>,
    /// All packages that a normal build of a package needs directly, by package id; ours and foreign ones.
    pub(super) needs: BTreeMap<String, Vec<String>>,
    /// The text files, in order of their paths.
    pub(super) files: Vec<TextFile>,
}

/// One of our crates.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// The package id, as [`House::needs`] has it.
    pub(super) id: String,
    /// The name without the prefix `openagents-`.
    pub(super) name: String,
    /// The folder, relative to the root, such as `crates/store`.
    pub(super) folder: String,
    /// The packages that the manifest names, whether for the crate, its build script or its tests.
    pub(super) dependencies: Vec<String>,
}

/// A file that is text.
#[derive(Debug)]
pub(super) struct TextFile {
    /// Relative to the root, with `/` between folders.
    pub(super) path: String,
    /// All of it.
    pub(super) text: String,
}

impl House {
    /// Reads what cargo knows and what version control would keep.
    pub(super) fn read(place: &Place) -> Result<Self> {
        let metadata = &place.metadata;
        let mut house = Self {
            files: text_files(&place.root)?,
            ..Self::default()
        };
        for package in entries(&metadata["packages"]) {
            let id = string(&package["id"]);
            if entries(&metadata["workspace_members"]).any(|member| string(member) == id) {
                house.crates.push(room(place, package)?);
            }
        }
        for node in entries(&metadata["resolve"]["nodes"]) {
            let normal = entries(&node["deps"])
                .filter(|dependency| entries(&dependency["dep_kinds"]).any(|kind| kind["kind"].is_null()))
                .map(|dependency| string(&dependency["pkg"]));
            house.needs.insert(string(&node["id"]), normal.collect());
        }
        Ok(house)
    }

    /// The text of a file, if there is one.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    /// The files below a folder.
    pub(super) fn below(&self, folder: &'static str) -> impl Iterator<Item = &TextFile> {
        self.files
            .iter()
            .filter(move |file| Path::new(&file.path).starts_with(folder))
    }
}

fn room(place: &Place, package: &Value) -> Result<Room> {
    let manifest = PathBuf::from(string(&package["manifest_path"]));
    let folder = manifest
        .parent()
        .and_then(|folder| folder.strip_prefix(&place.root).ok());
    let folder = folder.with_context(|| format!("{} is not below the root", manifest.display()))?;
    let name = string(&package["name"]);
    Ok(Room {
        id: string(&package["id"]),
        name: name.strip_prefix("openagents-").unwrap_or(&name).to_owned(),
        folder: folder.to_string_lossy().replace('\\', "/"),
        dependencies: entries(&package["dependencies"])
            .map(|dependency| string(&dependency["name"]))
            .collect(),
    })
}

fn entries(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn text_files(root: &Path) -> Result<Vec<TextFile>> {
    let mut paths = if root.join(".git").exists() {
        versioned(root)?
    } else {
        unpacked(root)?
    };
    paths.sort();
    // A file that is deleted but not yet committed is listed and cannot be read; one with a NUL is not text.
    let read = |path: String| {
        let text = fs::read_to_string(root.join(&path))
            .ok()
            .filter(|text| !text.contains('\0'))?;
        Some(TextFile { path, text })
    };
    Ok(paths.into_iter().filter_map(read).collect())
}

/// What version control keeps, and what it would keep if it were asked to add everything.
fn versioned(root: &Path) -> Result<Vec<String>> {
    let listed = Program::new("git", root)
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .read()?;
    Ok(listed.split_terminator('\0').map(str::to_owned).collect())
}

/// All files of an unpacked archive, where builds have only left what is named here.
fn unpacked(root: &Path) -> Result<Vec<String>> {
    const BUILT: [&str; 4] = ["target", "fuzz/target", "fuzz/corpus", "fuzz/artifacts"];
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            let relative = path
                .strip_prefix(root)
                .unwrap_or(&path)
                .to_string_lossy()
                .replace('\\', "/");
            let kind = entry.file_type()?;
            if kind.is_dir() && !BUILT.contains(&relative.as_str()) {
                folders.push(path);
            } else if kind.is_file() {
                found.push(relative);
            }
        }
    }
    Ok(found)
}
