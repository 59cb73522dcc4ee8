"""A running Apicurio registry, in memory, for a test: `with Apicurio(folder) as registry: registry.url`."""
import json
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
START_S = 120


class NotHere(Exception):
    """It cannot be had on this machine; says why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Apicurio:
    def __init__(self, folder):
        got = subprocess.run([ROOT / "tests/support/apicurio.sh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if got.returncode:
            raise NotHere(got.stderr.strip() or f"apicurio.sh ended with {got.returncode}")
        self.jar = got.stdout.strip()
        self.log = pathlib.Path(folder) / "apicurio.log"
        self.process = None
        self.base = self.url = ""

    def __enter__(self):
        self.base = f"http://127.0.0.1:{free_port()}"
        self.url = self.base + "/apis/ccompat/v7"
        with open(self.log, "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(
                ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1",
                 f"-Dquarkus.http.port={self.base.rpartition(':')[2]}", "-jar", self.jar], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        try:
            while not self.answers():
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Apicurio did not start: {self.log.read_text()[-2000:]}")
                time.sleep(0.1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.kill()  # it keeps nothing
        self.process.wait()

    def answers(self):
        try:
            return self.call("GET", "/subjects")[0] == 200
        except OSError:
            return False

    def call(self, method, path, body=None):
        """(status, JSON) of the Confluent API."""
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Content-Type": "application/vnd.schemaregistry.v1+json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or "null")


def main(folder):
    """apicurio.py FOLDER: prints the URL of one that runs until this is stopped; ends with 77 when it cannot be had."""
    import signal
    import sys
    try:
        registry = Apicurio(folder)
    except NotHere as why:
        print(why, file=sys.stderr)
        sys.exit(77)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with registry:
        print(registry.url, flush=True)
        registry.process.wait()


if __name__ == "__main__":
    import sys
    main(sys.argv[1])
