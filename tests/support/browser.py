"""A real browser (Debian's chromium-headless-shell), driven by its DevTools protocol over a pipe."""
import base64
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time

PROGRAM = "chromium-headless-shell"
PATIENCE_S = 120


def there_is_one():
    return shutil.which(PROGRAM) is not None


class Browser:
    """One page. `certificate`: a PEM file whose key is trusted besides; nothing else is. What it keeps is below `folder`. It
    opens our own pages only, so it runs without the sandbox, which not every machine lets it have."""

    def __init__(self, certificate, folder):
        self.home = tempfile.TemporaryDirectory(prefix="browser.", dir=folder, ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()  # what we read, what it reads
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{ours[1]} {theirs[0]}<&- {ours[1]}>&-', "sh", PROGRAM, "--headless",
             "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--remote-debugging-pipe",
             f"--user-data-dir={self.home.name}", f"--ignore-certificate-errors-spki-list={key_hash(certificate)}", "about:blank"],
            pass_fds=(theirs[0], ours[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | {"HOME": self.home.name})
        os.close(theirs[0])
        os.close(ours[1])
        self.reading, self.writing = os.fdopen(ours[0], "rb", buffering=0), os.fdopen(theirs[1], "wb", buffering=0)
        self.rest, self.number, self.session, self.events = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.writing.close()  # it ends by itself then
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.home.cleanup()

    def message(self):
        while b"\0" not in self.rest:
            piece = self.reading.read(1 << 16)
            if not piece:
                raise RuntimeError("the browser has ended")
            self.rest += piece
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.writing.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def open(self, url):
        error = self.call("Page.navigate", url=url).get("errorText")
        if error:
            raise RuntimeError(f"{url}: {error}")

    def value(self, expression):
        """Of a JavaScript expression; a promise is waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, expression, pause_s=0.05):
        """Until it is true; its value. A pause between looks, where each asks a server that limits its callers."""
        until = time.monotonic() + PATIENCE_S
        while not (value := self.value(expression)):
            if time.monotonic() > until:
                raise RuntimeError(f"{expression} does not become true; the page says: {self.value('document.body.innerText')}")
            time.sleep(pause_s)
        return value

    def responses(self):
        """Of everything that was loaded so far: {url: response}; the last one of each."""
        return {e["params"]["response"]["url"]: e["params"]["response"] for e in self.events if e["method"] == "Network.responseReceived"}

    def picture(self, path):
        with open(path, "wb") as out:
            out.write(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


def key_hash(certificate):
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], check=True, capture_output=True, input=key).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()
