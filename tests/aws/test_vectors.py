#!/usr/bin/env python3
"""The vectors of test_sigv4.c are what botocore and AWS's MSK signer make today."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
PYTHON = ROOT / "var/venv/bin/python"


def main():
    if subprocess.run([PYTHON, "-c", "import botocore, aws_msk_iam_sasl_signer"], check=False, stderr=subprocess.DEVNULL).returncode:
        print("botocore is missing (tests/run makes var/venv)")
        return 1 if os.environ.get("CI") else 77
    return subprocess.run([PYTHON, "-B", ROOT / "tests/aws/make_vectors.py", "--check"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
