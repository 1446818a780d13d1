"""Builds the wheel and the source archive: maturin's hooks, plus the server.

The wheel carries the program `openagents` as a script, so it is built first. `OPENAGENTS_SERVER_BINARY` names one that is
built already. The source archive holds the crates that both need.
"""

from __future__ import annotations

import gzip
import io
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from typing import Any

import maturin

FOLDER = pathlib.Path(__file__).resolve().parents[1]
ROOT = FOLDER.parents[1]
CRATES = ["cli", "client", "protocol", "python", "server", "store", "workspace"]
TOP_FILES = ["Cargo.lock", "LICENSE", "clippy.toml", "rustfmt.toml"]
# An unpacked archive has the settings at its top.
FROM_ARCHIVE = (ROOT / "pyproject.toml").exists()
SCRIPTS = FOLDER / "data" / "scripts"
NOT_SHIPPED = {"__pycache__", "data", "dist", "target", "tests"}

# Maturin wants the folder that its settings name, also where it only reads them.
SCRIPTS.mkdir(parents=True, exist_ok=True)

get_requires_for_build_wheel = maturin.get_requires_for_build_wheel
get_requires_for_build_editable = maturin.get_requires_for_build_editable
get_requires_for_build_sdist = maturin.get_requires_for_build_sdist
prepare_metadata_for_build_wheel = maturin.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = maturin.prepare_metadata_for_build_editable


def build_wheel(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    stage_server()
    name: str = maturin.build_wheel(wheel_directory, config_settings, metadata_directory)
    return name


def build_editable(
    wheel_directory: str, config_settings: dict[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    stage_server()
    name: str = maturin.build_editable(wheel_directory, config_settings, metadata_directory)
    return name


def stage_server() -> None:
    """Puts the server where maturin finds scripts."""
    name = "openagents.exe" if sys.platform == "win32" else "openagents"
    built = os.environ.get("OPENAGENTS_SERVER_BINARY") or build_server(name)
    shutil.copy2(built, SCRIPTS / name)


def build_server(name: str) -> str:
    command = [os.environ.get("CARGO", "cargo"), "build", "--release"]
    command += ["--package", "openagents-cli", "--bin", "openagents"]
    if not FROM_ARCHIVE:
        # In an archive the lock file names members that are not there; cargo takes those out, and nothing else.
        command.append("--locked")
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    target = os.environ.get("CARGO_TARGET_DIR", "target")
    triple = os.environ.get("CARGO_BUILD_TARGET", "")
    return str(ROOT / target / triple / "release" / name)


def build_sdist(sdist_directory: str, config_settings: dict[str, Any] | None = None) -> str:
    """The workspace cut down to what the package needs, with its `pyproject.toml` at the top."""
    with tempfile.TemporaryDirectory() as folder:
        written = prepare_metadata_for_build_wheel(folder, config_settings)
        metadata = (pathlib.Path(folder) / written / "METADATA").read_text()
    version = re.search(r"^Version: (.+)$", metadata, re.MULTILINE)
    assert version is not None
    base = f"openagents_rs-{version[1]}"
    archive = pathlib.Path(sdist_directory) / f"{base}.tar.gz"
    with gzip.GzipFile(archive, "wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        add_text(tar, f"{base}/PKG-INFO", metadata)
        add_text(tar, f"{base}/pyproject.toml", moved_to_top((FOLDER / "pyproject.toml").read_text()))
        add_text(tar, f"{base}/Cargo.toml", with_fewer_members((ROOT / "Cargo.toml").read_text()))
        for name in TOP_FILES:
            tar.add(ROOT / name, f"{base}/{name}", filter=reproducible)
        for crate in CRATES:
            for path in sorted((ROOT / "crates" / crate).rglob("*")):
                within = path.relative_to(ROOT)
                if path.is_file() and shipped(within):
                    tar.add(path, f"{base}/{within}", filter=reproducible)
    return archive.name


def shipped(path: pathlib.Path) -> bool:
    """Whether a file is source: neither built nor only for tests."""
    parts = path.parts
    only_tested = any(part in NOT_SHIPPED for part in parts[2:4])
    left_by_tools = any(part.startswith(".") or part == "__pycache__" for part in parts)
    return not only_tested and not left_by_tools and not path.name.endswith((".so", ".pyd"))


def moved_to_top(text: str) -> str:
    """The settings of the package, seen from the top of the archive instead of its folder."""
    if FROM_ARCHIVE:
        return ROOT.joinpath("pyproject.toml").read_text()
    folder = FOLDER.relative_to(ROOT).as_posix()
    for key, value in [("readme", "README.md"), ("python-source", "python"), ("data", "data")]:
        text = replace_once(text, f'{key} = "{value}"', f'{key} = "{folder}/{value}"')
    text = replace_once(text, 'backend-path = ["backend"]', f'backend-path = ["{folder}/backend"]')
    return replace_once(text, "[tool.maturin]\n", f'[tool.maturin]\nmanifest-path = "{folder}/Cargo.toml"\n')


def with_fewer_members(text: str) -> str:
    members = ", ".join(f'"crates/{crate}"' for crate in CRATES)
    text = re.sub(r"^members = .*$", f"members = [{members}]", text, count=1, flags=re.MULTILINE)
    return re.sub(r"^exclude = .*\n", "", text, count=1, flags=re.MULTILINE)


def replace_once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in pyproject.toml"
    return text.replace(old, new)


def add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    content = text.encode()
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    tar.addfile(reproducible(entry), io.BytesIO(content))


def reproducible(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    return entry
