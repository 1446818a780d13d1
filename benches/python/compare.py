"""Measures this package beside the official one, each against its own server, and prints both.

`cargo build --release -p openagents-cli -p openagents-python && python benches/python/compare.py`

It makes two environments below the target directory: one for the official package, and one folder with the package as it
was just built. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import compileall
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
ROWS = {
    "import_ms": "import, ms",
    "events_per_second": "small events a second into a handler",
    "ask_p50_ms": "send_and_wait answered by another process, p50, ms",
    "ask_p99_ms": "the same, p99 (official: the longest), ms",
}


def official_python() -> pathlib.Path:
    folder = TARGET / "venv-official"
    python = folder / "bin" / "python"
    requirements = ROOT / "crates" / "e2e" / "python" / "official" / "requirements.txt"
    noted = folder / "installed.txt"
    if not noted.exists() or noted.read_text() != requirements.read_text():
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--requirement", requirements], check=True)
        noted.write_text(requirements.read_text())
    return python


def our_site() -> pathlib.Path:
    site = TARGET / "python-release"
    package = site / "openagents"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "crates" / "python" / "python" / "openagents", package)
    shutil.copy2(TARGET / "release" / "libopenagents_python.so", package / "_native.abi3.so")
    # As an installation does.
    compileall.compile_dir(package, quiet=1)
    return site


def measure_ours() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as data:
        server = subprocess.Popen(
            [TARGET / "release" / "openagents", "serve", "--port", "0", "--data", data, "--durability", "memory"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip().rsplit(":", 1)[1]
            return measured([sys.executable, HERE / "ours.py", "measure", port], PYTHONPATH=str(our_site()))
        finally:
            server.terminate()
            server.wait()


def measured(command: list[object], **environment: str) -> dict[str, float]:
    output = subprocess.check_output(list(map(str, command)), env={**os.environ, **environment}, text=True)
    numbers: dict[str, float] = json.loads(output.splitlines()[-1])
    return numbers


def main() -> None:
    ours = measure_ours()
    theirs = measured([official_python(), HERE / "theirs.py", "measure"])
    print(f"{'':52} {'this package':>14} {'0.9.3.post20':>14}")
    for key, title in ROWS.items():
        print(f"{title:52} {ours[key]:14,.1f} {theirs[key]:14,.1f}")


if __name__ == "__main__":
    main()
