"""What the scripts of this folder share: where things are, and fastavro when there is one."""
import os
import pathlib
import sys

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
SKIPPED = 77

sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "schemas"))


def use_venv():
    """Goes on in the Python that tests/run made, which has fastavro."""
    venv = ROOT / "var/venv/bin/python"
    if venv.exists() and pathlib.Path(sys.prefix) != ROOT / "var/venv":
        os.execv(venv, [str(venv), *sys.argv])


def fastavro_or_none():
    try:
        import fastavro
    except ImportError:
        return None
    return fastavro


def missing():
    """The exit code for want of fastavro: a test that was left out, but never in CI."""
    print("fastavro is missing (tests/run makes var/venv)")
    return 1 if os.environ.get("CI") else SKIPPED
