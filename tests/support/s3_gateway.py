"""An S3 gateway (versitygw) of a test's own: real signatures, conditional writes, versions and Object Lock."""
import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KEY_ID, SECRET, REGION = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "eu-central-1"


def skip(why):
    print(why)
    sys.exit(1 if os.environ.get("CI") else 77)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Gateway:
    """Runs between __enter__ and __exit__, its files in a folder that goes with it."""

    def __init__(self):
        found = subprocess.run([ROOT / "infra/local/s3/get"], stdout=subprocess.PIPE, text=True)
        if found.returncode == 77:
            skip("versitygw cannot be had")
        found.check_returncode()
        self.program = found.stdout.strip()

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="s3.", dir=ROOT / "var")))
        for name in ("objects", "versions", "sidecar"):
            (self.folder / name).mkdir()
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()
        return self

    def start(self):
        self.log = open(self.folder / "log", "a", encoding="utf-8")
        self.process = subprocess.Popen(
            [self.program, "--access", KEY_ID, "--secret", SECRET, "--region", REGION, "--port", f"127.0.0.1:{self.port}",
             "--health", "/health", "posix", "--sidecar", self.folder / "sidecar", "--versioning-dir",
             self.folder / "versions", self.folder / "objects"], stdout=self.log, stderr=self.log)
        until = time.monotonic() + 30
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/health", timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None or time.monotonic() > until:
                    self.stop()
                    raise RuntimeError(f"versitygw does not start: {(self.folder / 'log').read_text()}") from None
                time.sleep(0.05)

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def __exit__(self, *_):
        self.stop()
        self.stack.close()

    def environment(self, **changes):
        """Of a program that shall use it. None takes a variable away."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        own |= {"AWS_ENDPOINT_URL_S3": self.url, "AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
        return {name: value for name, value in (own | changes).items() if value is not None}

    def client(self):
        """boto3: what an independent program sees."""
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            skip("boto3 is missing (tests/run makes var/venv)")
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id=KEY_ID, aws_secret_access_key=SECRET,
                            region_name=REGION, config=Config(s3={"addressing_style": "path"}))
