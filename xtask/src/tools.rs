//! The programs that a check needs besides the Rust toolchain.
//!
//! A missing one is never a reason to check less: cargo tools are built below the target directory, system
//! programs are installed where that is allowed, and named where it is not.

use std::ffi::OsStr;
use std::fs;

use anyhow::{Result, bail};

use crate::place::Place;
use crate::print;
use crate::program::Program;

/// A cargo subcommand at the oldest version that will do, which is the one that gets installed.
#[derive(Debug)]
pub(crate) struct CargoTool {
    /// As it follows `cargo`.
    subcommand: &'static str,
    /// The package that provides it.
    package: &'static str,
    version: &'static str,
}

/// Runs the tests, each in a process of its own.
pub(crate) const NEXTEST: CargoTool = CargoTool {
    subcommand: "nextest",
    package: "cargo-nextest",
    version: "0.9.143",
};
/// Checks the licences and sources of what we depend on.
pub(crate) const DENY: CargoTool = CargoTool {
    subcommand: "deny",
    package: "cargo-deny",
    version: "0.20.2",
};
/// Feeds the decoders with bytes that nobody would write.
pub(crate) const FUZZ: CargoTool = CargoTool {
    subcommand: "fuzz",
    package: "cargo-fuzz",
    version: "0.13.2",
};

/// Installs a tool unless it is there in its version or a newer one.
pub(crate) fn install(place: &Place, tool: &CargoTool) -> Result<()> {
    if let Some(found) = found_version(place, tool) {
        print::note(&format!("{} {found}", tool.package));
        return Ok(());
    }
    print::note(&format!(
        "{} {} is not here: building it once",
        tool.package, tool.version
    ));
    let root = place.tools();
    let build = root.join("build");
    place
        .cargo()
        .args([
            "install",
            "--locked",
            "--force",
            tool.package,
            "--version",
            tool.version,
        ])
        .args([
            OsStr::new("--root"),
            root.as_os_str(),
            OsStr::new("--target-dir"),
            build.as_os_str(),
        ])
        // A quick build matters more than a quick tool.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
        .run()?;
    // Only the program is wanted; what remains of a failed attempt would be no harm either.
    fs::remove_dir_all(build).ok();
    Ok(())
}

/// The version of a tool, if it is new enough.
fn found_version(place: &Place, tool: &CargoTool) -> Option<String> {
    let answer = place.cargo().args([tool.subcommand, "--version"]).probe()?;
    let found = answer.split_whitespace().nth(1)?;
    (parsed(tool.version)? <= parsed(found)?).then(|| found.to_owned())
}

/// The numbers of a version, which compare as versions do. What follows a `-` or `+` is left out.
fn parsed(version: &str) -> Option<Vec<u64>> {
    version
        .split(['-', '+'])
        .next()?
        .split('.')
        .map(|part| part.parse().ok())
        .collect()
}

/// A program of the system: a call that works when it is there, and the packages that bring it.
struct SystemProgram {
    name: &'static str,
    probe: &'static [&'static str],
    packages: &'static [&'static str],
}

const SYSTEM_PROGRAMS: [SystemProgram; 5] = [
    SystemProgram {
        name: "a C compiler (cc)",
        probe: &["cc", "--version"],
        packages: &["gcc", "libc6-dev"],
    },
    SystemProgram {
        name: "a C++ compiler (c++)",
        probe: &["c++", "--version"],
        packages: &["g++"],
    },
    SystemProgram {
        name: "make",
        probe: &["make", "--version"],
        packages: &["make"],
    },
    SystemProgram {
        name: "python3",
        probe: &["python3", "--version"],
        packages: &["python3"],
    },
    SystemProgram {
        name: "the venv module of python3",
        probe: &["python3", "-c", "import ensurepip, venv"],
        packages: &["python3-venv"],
    },
];

/// Wants the compilers and make (for SQLite, the TLS library, the allocator and the fuzzer's driver) and Python (for the tests of the
/// wire from another language).
pub(crate) fn need_system_programs(place: &Place) -> Result<()> {
    let missing = missing_programs(place);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing
        .iter()
        .map(|program| program.name)
        .collect::<Vec<_>>()
        .join(", ");
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|program| program.packages)
        .copied()
        .collect();
    if !may_install(place) {
        bail!(
            "missing: {names}. On Debian and Ubuntu: apt-get install {}",
            packages.join(" ")
        );
    }
    print::note(&format!("missing: {names}; installing {}", packages.join(" ")));
    let apt = || Program::new("apt-get", &place.root).env("DEBIAN_FRONTEND", "noninteractive");
    apt().args(["update", "--quiet"]).run()?;
    apt()
        .args(["install", "--yes", "--quiet", "--no-install-recommends"])
        .args(&packages)
        .run()?;
    match missing_programs(place).first() {
        None => Ok(()),
        Some(program) => bail!("{} is still missing after the installation", program.name),
    }
}

fn missing_programs(place: &Place) -> Vec<&'static SystemProgram> {
    let works = |program: &&SystemProgram| {
        Program::new(program.probe[0], &place.root)
            .args(&program.probe[1..])
            .probe()
            .is_some()
    };
    SYSTEM_PROGRAMS.iter().filter(|program| !works(program)).collect()
}

/// Whether this is the administrator of a system with apt-get.
fn may_install(place: &Place) -> bool {
    let administrator = Program::new("id", &place.root).args(["-u"]).probe();
    administrator.is_some_and(|id| id.trim() == "0")
        && Program::new("apt-get", &place.root)
            .args(["--version"])
            .probe()
            .is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert!(parsed("0.9.143") < parsed("0.10.0"));
        assert!(parsed("0.9.99") < parsed("0.9.143"));
        assert_eq!(parsed("0.9.143-rc.1+build"), Some(vec![0, 9, 143]));
        assert_eq!(parsed("unknown"), None);
    }
}
