//! Makes a test of every block of Rust in the documentation, so that what a page shows compiles and runs.
//!
//! A page is any Markdown file in `docs/`, and the README. A block that is a whole program is compiled. Any other runs, in
//! an async function that returns a result, with what `tests/it/pages.rs` gives it: `client` and `bob`, two agents that
//! are connected to a server of their own. `no_run` behind the language compiles a block without running it; `ignore`
//! leaves it alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// A block of code in a page.
struct Block<'a> {
    /// What stands behind the fence, such as `rust` or `rust,no_run`.
    language: &'a str,
    /// Where it begins, counted from 1.
    line: usize,
    code: String,
}

fn main() -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    println!("cargo::rerun-if-changed={}", root.join("docs").display());
    let mut tests = String::new();
    for page in pages(&root)? {
        println!("cargo::rerun-if-changed={}", page.display());
        let text = fs::read_to_string(&page)?;
        for block in blocks(&text) {
            tests.push_str(&test(&page, &block));
        }
    }
    let directory = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    fs::write(Path::new(&directory).join("pages.rs"), tests)
}

fn pages(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut pages = vec![root.join("README.md")];
    for entry in fs::read_dir(root.join("docs"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    pages.sort_unstable();
    Ok(pages)
}

fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let code = lines
            .by_ref()
            .map(|(line, _)| line)
            .take_while(|line| *line != "```");
        let code = code.fold(String::new(), |code, line| code + line + "\n");
        blocks.push(Block {
            language: language.trim(),
            line: number,
            code,
        });
    }
    blocks
}

/// The test of a block; nothing where it is no Rust.
fn test(page: &Path, block: &Block<'_>) -> String {
    let mut words = block.language.split(',').map(str::trim);
    let is_rust = words.next() == Some("rust");
    let words: Vec<&str> = words.collect();
    if !is_rust || words.contains(&"ignore") {
        return String::new();
    }
    let page = page.file_stem().unwrap_or_default().to_string_lossy();
    let name: String = page.to_lowercase().replace(['-', '.'], "_");
    let Block { line, code, .. } = block;
    let mut test = String::new();
    let written = if code.contains("fn main(") {
        write!(test, "mod {name}_line_{line} {{\n{code}}}\n")
    } else {
        let attribute = if words.contains(&"no_run") {
            ""
        } else {
            "#[tokio::test]\n"
        };
        write!(
            test,
            "{attribute}async fn {name}_line_{line}() -> anyhow::Result<()> {{\n\
             let Scene {{ client, bob, workspace, .. }} = &Scene::set().await?;\n\
             let (client, bob, workspace) = (client.clone(), bob.clone(), workspace.clone());\n{{\n{code}}}\nOk(())\n}}\n"
        )
    };
    written.expect("writing to a String cannot fail");
    test
}
