"""Python's tools for these tests: a virtual environment under var/ for each requirements-*.txt here, made once."""
import fcntl
import hashlib
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "infra"


def cannot(why):
    """What cannot be had here is skipped; in continuous integration that is a failure."""
    print(why, flush=True)
    sys.exit(1 if os.environ.get("CI") else 77)


def make(name):
    """The folder of var/venv-NAME; made anew when its requirements changed."""
    needs = HERE / f"requirements-{name}.txt"
    folder = ROOT / "var" / f"venv-{name}"
    ready = folder / ("ready-" + hashlib.sha256(needs.read_bytes()).hexdigest()[:12])
    folder.parent.mkdir(exist_ok=True)
    with open(ROOT / "var" / f"venv-{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ready.exists():
            print(f"Making var/venv-{name}", flush=True)
            for command in (["/usr/bin/env", "python3", "-m", "venv", "--clear", folder],
                            [folder / "bin" / "pip", "install", "--quiet", "--no-deps", "-r", needs]):
                if subprocess.run(command, check=False).returncode != 0:
                    cannot(f"var/venv-{name} could not be made")
            ready.touch()
    return folder


def enter(name="infra"):
    """Goes on with that environment's Python."""
    folder = make(name)
    if pathlib.Path(sys.prefix) != folder:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        os.execv(folder / "bin" / "python", [str(folder / "bin" / "python"), *sys.argv])
