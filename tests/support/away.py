"""A shopper who goes on while a part of the stack is away: away.py reads|writes|outage FOLDER

Settings are the stack's (ORDERLOG_API, ORDERLOG_OPERATOR_TOKEN). FOLDER/ready is made once all is set up; it goes on until
FOLDER/stop is there, then prints what it saw and ends with 1 if that is not as it must be.

reads:  a product, a cart and an order must be answered all the time, and the shopper's own writes be seen.
writes: FOLDER/away is made by the test just before PostgreSQL is killed, FOLDER/back once it is there again. In between,
        writes must be taken for a while, then be refused as overloaded with a Retry-After, and be taken again afterwards;
        what was taken must be there in the end.
outage: FOLDER/away is made just before the log can take nothing, FOLDER/back just before it is brought back. Each write
        must be answered, as taken or as 503, in time (the API takes up to 6 s; on a machine that is busy besides, longer).
        In between none is taken; FOLDER/refused is made when two were not, FOLDER/taken-again when one is again, and what
        was taken must be there in the end."""
import json
import os
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

API = os.environ["ORDERLOG_API"]
PATIENCE_S = 120
ANSWER_S = 20


def call(method, path, token=None, key=None, body=None, wait=None):
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = "Bearer " + token
    if key:
        headers["Idempotency-Key"] = key
    if wait:
        headers["Prefer"] = f"wait={wait}"
    data = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
    request = urllib.request.Request(API + path, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, json.load(answer)
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers, json.load(refused)


def must(status, answer):
    if answer[0] != status:
        sys.exit(f"answered {answer[0]} instead of {status}: {answer[2]}")
    return answer[2]


def until(what, done):
    end = time.monotonic() + PATIENCE_S
    while not done():
        if time.monotonic() > end:
            sys.exit(f"{what}: not within {PATIENCE_S} s")
        time.sleep(0.05)


def session():
    return must(201, call("POST", "/v1/sessions"))["token"]


def order_of(token, sku, name):
    """Each step waits for what came of the one before."""
    cart = must(201, call("POST", "/v1/carts", token, name, wait=10))["cart_id"]
    cart_view = must(200, call("POST", f"/v1/carts/{cart}/lines", token, name, {"sku": sku, "quantity": 1}, wait=10))
    body = {
        "cart_id": cart, "expected_total": cart_view["totals"]["total"], "payment_method": "pm_card_visa",
        "email": "away@example.org",
        "shipping_address": {"name": "A. Way", "line1": "1 Main Street", "city": "Cincinnati", "country": "US"},
    }
    order = must(201, call("POST", "/v1/checkouts", token, name, body, wait=10))
    return order["order_id"]


def reads(folder):
    token = session()
    sku = must(200, call("GET", "/v1/products?limit=1"))["items"][0]["sku"]
    cancelled = order_of(token, sku, "cancelled")
    refused = call("POST", f"/v1/orders/{cancelled}/cancel", token, "cancel", wait=10)
    if refused[0] not in (200, 409):
        sys.exit(f"a cancellation was answered {refused[0]}: {refused[2]}")
    again = call("POST", f"/v1/orders/{cancelled}/cancel", token, "cancel", {}, wait=10)
    if again[0] != 422 or again[2]["type"] != "/problems/idempotency-key-reused":
        sys.exit(f"a key used again was answered {again[0]}: {again[2]}")
    path = "/v1/products/" + urllib.request.quote(sku, safe="")
    order = order_of(token, sku, "kept")
    cart = must(201, call("POST", "/v1/carts", token, "more", wait=10))["cart_id"]
    # Redis is told first: PostgreSQL's views follow a moment later, and are to stand in from now on.
    until("PostgreSQL's views know the cart and the order", lambda: subprocess.run(
        ["psql", "-XAtq", "-d", os.environ["DATABASE_URL"], "-c",
         f"SELECT count(*) FROM view.carts c, view.orders o WHERE c.cart_id = '{cart}' AND o.order_id = '{order}'"],
        check=True, capture_output=True, text=True).stdout.strip() == "1")
    (folder / "ready").touch()
    counts, bad, slowest, quantity = {}, [], 0.0, 0
    while not (folder / "stop").exists():
        for name, read in (("product", path), ("order", f"/v1/orders/{order}"), ("cart", f"/v1/carts/{cart}")):
            began = time.monotonic()
            status, _, body = call("GET", read, token)
            slowest = max(slowest, time.monotonic() - began)
            counts[name] = counts.get(name, 0) + 1
            if status != 200:
                bad.append((name, status, body.get("type")))
        if quantity < 900:
            quantity += 1
            status, _, body = call("POST", f"/v1/carts/{cart}/lines", token, f"q{quantity}",
                                   {"sku": sku, "quantity": 1}, wait=10)
            counts["own write"] = counts.get("own write", 0) + 1
            if status != 200 or body["lines"][0]["quantity"] != quantity:
                bad.append(("own write", status, body))
        time.sleep(0.02)
    print(f"reads: {counts}, slowest {slowest * 1000:.0f} ms, wrong: {bad[:5]}")
    return not bad and min(counts.values()) > 10


def writes(folder):
    token = session()
    (folder / "ready").touch()
    seen, taken, number = [], [], 0
    while not (folder / "stop").exists():
        number += 1
        status, headers, body = call("POST", "/v1/carts", token, f"w{number}")
        seen.append((time.time(), status, body.get("type"), headers.get("Retry-After")))
        if status == 201:
            taken.append(body["cart_id"])
        time.sleep(0.05)
    away, back = (os.stat(folder / name).st_mtime for name in ("away", "back"))
    during = [s for s in seen if away < s[0] < back]
    first_refused = next((i for i, s in enumerate(during) if s[1] != 201), len(during))
    refused = [s for s in seen if s[1] != 201]
    print(f"writes: {len(taken)} taken, {len(refused)} refused; while PostgreSQL was away {first_refused} were taken first, "
          f"then refused from {during[first_refused][0] - away:.1f} s on" if refused else "writes: none was refused")
    if not refused or not first_refused or seen[-1][1] != 201:
        return False
    if any(s[1] != 503 or s[2] != "/problems/overloaded" or not s[3] for s in refused):
        print(f"refused otherwise: {[s for s in refused if s[2] != '/problems/overloaded'][:3]}")
        return False
    if any(s[0] < away for s in refused):
        print("refused before PostgreSQL was away")
        return False
    for cart in taken:
        until(f"cart {cart}", lambda: call("GET", f"/v1/carts/{cart}", token)[0] == 200)
    return True


def begun_after(marker, began):
    return marker.exists() and began > os.stat(marker).st_mtime


def outage(folder):
    token = session()
    (folder / "ready").touch()
    seen, taken, number, refused_away = [], [], 0, 0
    while not (folder / "stop").exists():
        number += 1
        began = time.time()
        status, _, body = call("POST", "/v1/carts", token, f"o{number}")
        seen.append((began, time.time() - began, status, body.get("type")))
        if status == 201:
            taken.append(body["cart_id"])
            if begun_after(folder / "back", began):
                (folder / "taken-again").touch()
        elif begun_after(folder / "away", began - 1):
            refused_away += 1
            if refused_away == 2:
                (folder / "refused").touch()
        time.sleep(0.05)
    away, back = (os.stat(folder / name).st_mtime for name in ("away", "back"))
    refused = [s for s in seen if s[2] == 503]
    # What had begun before the brokers were dead may still have been taken.
    during = [s for s in seen if away + 1 < s[0] and s[0] + s[1] < back]
    slowest = max(s[1] for s in seen)
    print(f"writes: {len(taken)} taken, {len(refused)} refused {sorted(set(str(s[3]) for s in refused))}, "
          f"{len(during)} of them while the log was away; the slowest answer took {slowest:.1f} s")
    wrong = [s for s in seen if s[2] not in (201, 503) or s[1] > ANSWER_S] + [s for s in during if s[2] != 503]
    if wrong or not during:
        print(f"not as it must be: {wrong[:5]}")
        return False
    for cart in taken:
        until(f"cart {cart}", lambda: call("GET", f"/v1/carts/{cart}", token)[0] == 200)
    return True


if __name__ == "__main__":
    sys.exit(0 if {"reads": reads, "writes": writes, "outage": outage}[sys.argv[1]](pathlib.Path(sys.argv[2])) else 1)
