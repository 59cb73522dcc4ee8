#!/usr/bin/env python3
# ctest: TIMEOUT=600 RUN_SERIAL=ON
"""The demo with a bad payment provider: every order settles, and the provider's own database says what the log does."""
import json
import os
import pathlib
import sqlite3
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = ROOT / "var/demo-faults-stack"
BASKETS = 500


def check(right, what):
    if not right:
        sys.exit(f"FAIL: {what}")


def environment():
    """The stopped stack's settings: its log can still be read."""
    script = f". '{STACK}/env' && env -0"
    out = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE).stdout.decode()
    return dict(pair.split("=", 1) for pair in out.split("\0") if pair)


def records(topic):
    orderlog = os.environ.get("ORDERLOG_BIN", str(ROOT / "build/orderlog"))
    command = [orderlog, "tail", "-t", topic, "-o", "beginning", "-e", "--output", "json"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout.decode()
    return [json.loads(line) for line in out.splitlines()]


def books_of_the_log():
    """By payment: what is held, what was taken."""
    books, seen = {}, {}
    for record in records("shop.payment.events.v1"):
        kind, event = record["type"].rsplit(".", 1)[1], record["event"]
        seen[kind] = seen.get(kind, 0) + 1
        if kind == "CommandRefused":
            continue
        payment = books.setdefault(event["payment_id"], [0, 0])
        if kind == "PaymentAuthorized":
            payment[0] = event["amount"]["minor"]
        elif kind == "PaymentCaptured":
            payment[0] = 0
            payment[1] += event["amount"]["minor"]
        elif kind in ("PaymentVoided", "AuthorizationExpired"):
            payment[0] = 0
    return books, seen


def books_of_the_provider():
    database = sqlite3.connect(f"file:{STACK}/data/provider.db?mode=ro", uri=True)
    books = {}
    for (text,) in database.execute("SELECT json FROM intents"):
        intent = json.loads(text)
        payment_id = intent["metadata"]["payment_id"]
        check(payment_id not in books, f"payment {payment_id} was made twice")
        books[payment_id] = [intent["amount_capturable"], intent["amount_received"]]
    database.close()
    return books


def main():
    command = [str(ROOT / "infra/local/demo"), "--faults", "--baskets", str(BASKETS)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with open(ROOT / "var/demo-faults.json", encoding="utf-8") as file:
        result = json.load(file)
    outcomes = {name for name, count in result["outcomes"].items() if count}
    check(sum(result["outcomes"].values()) == BASKETS, f"not every basket settled: {result['outcomes']}")
    check(outcomes <= {"completed", "rejected:out-of-stock", "empty"}, f"other outcomes: {result['outcomes']}")
    check(result["violations"] == 0, f"violations: {result['violations']}")
    log, seen = books_of_the_log()
    provider = books_of_the_provider()
    for payment_id in log.keys() | provider.keys():
        check(log.get(payment_id, [0, 0]) == provider.get(payment_id, [0, 0]),
              f"payment {payment_id}: {log.get(payment_id)} by the log, {provider.get(payment_id)} by the provider")
    taken = sum(minor for _, minor in provider.values())
    check(taken == result["revenue"]["minor"] > 0, f"taken: {taken}, sold: {result['revenue']}")
    check(seen.get("PaymentOutcomeUnknown", 0) > 0, f"nothing went wrong with the provider: {seen}")
    hints = [record["event"]["provider_event_id"] for record in records("shop.payment.requests.v1")
             if record["type"].endswith(".ProviderNotified")]
    check(len(hints) > len(set(hints)) > 0, f"no webhook came twice: {len(hints)}")
    check(not records("shop.payment.unrouted.v1"), "a webhook was set aside")
    print(f"{len(provider)} payments, {seen}, {len(hints)} webhooks")


if __name__ == "__main__":
    main()
