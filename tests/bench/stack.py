"""What the measuring scripts share: the binary to measure, a stack of its own for it, and a run of orderlog bench."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests/bench/stack.sh"


GIVEN = os.environ.get("ORDERLOG_BIN")


def build(preset, target="orderlog"):
    """Builds this checkout; the binary's path. A build that ORDERLOG_BIN names is taken as it is."""
    if GIVEN:
        return GIVEN if target == "orderlog" else str(pathlib.Path(GIVEN).with_name(target))
    script = '. "$0/infra/local/common.sh"; "$tools/install"; build "$1" OFF --target "$2"'
    if subprocess.run(["bash", "-c", script, str(ROOT), preset, target], check=False, stdout=sys.stderr).returncode:
        sys.exit("the build failed")
    path = str(ROOT / ("build" if preset == "dev" else f"build-{preset}") / target)
    if target == "orderlog":
        os.environ["ORDERLOG_BIN"] = path  # for stack.sh
    return path


def environment(folder):
    """What FOLDER/env exports, with all that we have."""
    text = subprocess.run(["bash", "-c", '. "$0/env"; env -0', str(folder)], check=True, capture_output=True).stdout
    return dict(entry.split("=", 1) for entry in text.decode().split("\0") if "=" in entry)


class Stack:
    """with Stack() as stack: PostgreSQL, Redis and orderlog below stack.dir, their settings in stack.env."""

    def __init__(self, action="start", settings=()):
        (ROOT / "var").mkdir(exist_ok=True)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench.", dir=ROOT / "var"))
        self.dir.chmod(0o711)
        self.action, self.settings, self.env = action, settings, {}

    def __enter__(self):
        try:
            subprocess.run([str(SCRIPT), self.action, str(self.dir), *self.settings], check=True, stdout=sys.stderr)
            self.env = environment(self.dir)
        except BaseException:
            self.__exit__()
            raise
        return self

    def pid(self, name):
        return int((self.dir / f"run/{name}.pid").read_text())

    def services(self):
        return (self.dir / "run/services").read_text(encoding="ascii").split()

    def __exit__(self, *_):
        subprocess.run([str(SCRIPT), "stop", str(self.dir)], check=False, stdout=sys.stderr)
        shutil.rmtree(self.dir, ignore_errors=True)


def run_bench(binary, stack, *options):
    """orderlog bench against this stack; its result."""
    done = subprocess.run([binary, "bench", "--run-dir", f"{stack.dir}/run", *map(str, options)], env=stack.env, check=False,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"orderlog bench ended with status {done.returncode} {done.stdout}")
    return json.loads(done.stdout)
