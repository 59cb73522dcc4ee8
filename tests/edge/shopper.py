"""What tests/edge/test_edge.sh asks of the edge: shopper.py PORT FOLDER. ORDERLOG_API and ORDERLOG_OPERATOR_TOKEN are the shop's."""
import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
import uuid

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from browser import Browser  # noqa: E402

PORT, FOLDER = int(sys.argv[1]), pathlib.Path(sys.argv[2])
CERTIFICATE = str(FOLDER / "certificate.pem")
WRONG = []


def check(what, ok, found=""):
    print("ok  " if ok else "FAIL", what, "" if ok else found, flush=True)
    if not ok:
        WRONG.append(what)


class Caller:
    """Over TLS and HTTP/1.1, from one address of this machine."""

    def __init__(self, address="127.0.0.1"):
        self.context = ssl.create_default_context(cafile=CERTIFICATE)
        self.address, self.connection = address, None

    def call(self, method, path, body=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        for _ in range(2):  # a kept connection may have been closed meanwhile
            if not self.connection:
                self.connection = http.client.HTTPSConnection("localhost", PORT, context=self.context, source_address=(self.address, 0))
                self.connection._create_connection = lambda to, *rest, **more: socket.create_connection(("127.0.0.1", to[1]), *rest, **more)
            try:
                self.connection.request(method, path, body, headers)
                answer = self.connection.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.connection = None
        raise RuntimeError("the edge closes connections")


def hello(*options):
    """A handshake; what OpenSSL has to say of it has bytes of the session in it."""
    return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{PORT}", "-cipher", "DEFAULT@SECLEVEL=0", *options], check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout.decode(errors="replace")


def tls():
    old, new, best = hello("-tls1_1"), hello("-tls1_2"), hello("-alpn", "h2,http/1.1")
    check("TLS 1.1 is refused, by the edge", "alert protocol version" in old, old[-600:])
    check("TLS 1.2 is taken", "Protocol  : TLSv1.2" in new and "Cipher    : 0000" not in new, new[-600:])
    check("TLS 1.3 and HTTP/2 are agreed on", "TLSv1.3" in best and "ALPN protocol: h2" in best, best[-600:])


def cache(caller):
    caller.call("GET", "/shop.js")
    status, headers, _ = caller.call("GET", "/shop.js")
    check("a static file comes from the cache the second time", status == 200 and headers.get("X-Cache") == "HIT", headers)
    for _ in range(2):
        status, headers, _ = caller.call("GET", "/v1/products?limit=1")
    check("the API's answers are not kept", status == 200 and headers.get("X-Cache", "") == "", headers)
    for name, value in (("Strict-Transport-Security", "max-age=63072000; includeSubDomains"), ("X-Frame-Options", "DENY"),
                        ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")):
        check(f"{name} is told", headers.get(name) == value, headers)


def rules(caller):
    harmless, _, _ = caller.call("GET", "/v1/products?limit=5")
    check("what is harmless passes", harmless == 200, harmless)
    attacks = {"SQL": "/v1/products?after=1%27%20OR%20%271%27%3D%271%27%20UNION%20SELECT%20password%20FROM%20users--",
               "script": "/v1/products?after=%3Cscript%3Ealert(document.cookie)%3C%2Fscript%3E",
               "a path": "/v1/products?after=..%2F..%2F..%2Fetc%2Fpasswd"}
    for what, path in attacks.items():
        status, _, _ = caller.call("GET", path)
        check(f"{what} in a query is refused with 403", status == 403, status)
    _, _, text = caller.call("POST", "/v1/sessions")
    token = {"Authorization": f"Bearer {json.loads(text)['token']}", "Content-Type": "application/json", "Idempotency-Key": "a"}
    status, _, _ = caller.call("POST", f"/v1/carts/{uuid.uuid4()}/lines",
                               json.dumps({"sku": "<script>alert(1)</script>", "quantity": 1}), **token)
    check("a script in a body is refused with 403", status == 403, status)
    status, _, _ = caller.call("POST", "/v1/carts", "x" * 70000, **token)
    check("a body of more than 64 KiB is refused with 413", status == 413, status)
    status, _, _ = caller.call("POST", "/index.html")
    check("files are only read", status == 403, status)
    log = (FOLDER / "audit.log").read_text(encoding="utf-8")
    check("the firewall's log says why", "SQL Injection" in log and "XSS" in log, log[-500:])
    check("and holds no token", json.loads(text)["token"] not in log)


def limits():
    greedy, seen = Caller("127.0.0.2"), {}
    for _ in range(20000):
        status, _, _ = greedy.call("GET", "/shop.css")
        seen[status] = seen.get(status, 0) + 1
        if status == 429:
            break
    check("an address that asks too often gets 429", seen.get(429) == 1 and seen[200] >= 300, seen)
    status, _, _ = Caller("127.0.0.3").call("GET", "/shop.css")
    check("others do not", status == 200, status)


def operator(path, body):
    """As the warehouse does: not by the edge."""
    headers = {"Authorization": f"Bearer {os.environ['ORDERLOG_OPERATOR_TOKEN']}", "Idempotency-Key": str(uuid.uuid4()), "Prefer": "wait=10"}
    if body:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(os.environ["ORDERLOG_API"] + path, json.dumps(body).encode() if body else b"", headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def click(browser, selector):
    browser.wait(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); return e && !e.disabled && (e.click(), true); }})()")


def shop(caller):
    _, _, page = caller.call("GET", "/v1/products?limit=1")
    product = json.loads(page)["items"][0]
    operator(f"/v1/inventory/{product['sku']}/receipts", {"quantity": 5, "location": "main"})
    # The page does not look again, and it shows the list, which comes of another view than what the receipt waited for.
    deadline = time.monotonic() + 120
    while not any(item["sku"] == product["sku"] and item["available"] > 1
                  for item in json.loads(caller.call("GET", "/v1/products?limit=50")[2])["items"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    with Browser(CERTIFICATE, FOLDER) as browser:
        buy = f"#products button[data-sku={json.dumps(product['sku'])}]"
        browser.open(f"https://localhost:{PORT}/")
        click(browser, buy)
        browser.wait("document.getElementById('cart-count').textContent === '1'")
        click(browser, buy)
        browser.wait("document.getElementById('cart-count').textContent === '2'")
        browser.value("location.hash = '#cart'")
        total = browser.wait("!document.getElementById('checkout').hidden && document.getElementById('total').textContent")
        for name, value in (("email", "ada@example.com"), ("name", "Ada Lovelace"), ("line1", "12 St James's Square"),
                            ("city", "London"), ("country", "GB"), ("payment_method", "pm_card_visa")):
            browser.value(f"document.querySelector('#checkout [name={name}]').value = {json.dumps(value)}")
        click(browser, "#checkout button")
        order = browser.wait("location.hash.startsWith('#order/') && location.hash.slice(7)")
        browser.wait("document.getElementById('order-status').textContent === 'confirmed'")
        check("an order is made in the browser, and confirmed", browser.value("document.getElementById('order-total').textContent") == total)
        # The same page, not loaded again: what it shows came by the stream, which is still open.
        browser.value("window.same = true")
        for step, body, status in (("pick", None, "processing"), ("dispatch", {"carrier": "Post", "tracking": "1"}, "shipped"),
                                   ("deliver", None, "completed")):
            operator(f"/v1/fulfilments/{order}/{step}", body)
            browser.wait(f"document.getElementById('order-status').textContent === '{status}'")
        check("its way is followed by the stream, as it happens", browser.value("window.same === true"))
        browser.open(f"https://localhost:{PORT}/?again")
        browser.wait("document.querySelectorAll('#products li').length > 1")
        browser.value("location.hash = '#orders'")
        # Lists come of another view than streams, which may be behind.
        browser.wait("ordersShow().then(() => document.querySelector('#orders a')?.textContent === 'completed')", 1)
        browser.call("Network.setCacheDisabled", cacheDisabled=True)
        browser.open(f"https://localhost:{PORT}/")
        browser.wait("document.querySelectorAll('#products li').length > 1")
        responses = browser.responses()
        page, script = (responses.get(f"https://localhost:{PORT}/{name}") for name in ("", "shop.js"))
        check("the browser speaks HTTP/2", page["protocol"] == script["protocol"] == "h2", (page["protocol"], script["protocol"]))
        check("the product page came from the edge's cache", page["headers"].get("x-cache") == "HIT", page["headers"])
        problems = [e for e in browser.events if e["method"] == "Runtime.exceptionThrown"]
        check("the page has no error", not problems, problems)
        if "EDGE_PICTURE" in os.environ:
            browser.picture(os.environ["EDGE_PICTURE"])


def main():
    caller = Caller()
    tls()
    cache(caller)
    rules(caller)
    shop(caller)
    limits()
    return bool(WRONG)


if __name__ == "__main__":
    sys.exit(main())
