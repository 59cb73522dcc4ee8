#!/usr/bin/env python3
# ctest: TIMEOUT=600 RUN_SERIAL=ON
"""The demo, against an independent calculation over the same baskets: what it says, and what the log says it did."""
import collections
import csv
import decimal
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
STACK = ROOT / "var/demo-stack"


def accepted(quantity):
    return 1 <= quantity <= 999


def read_baskets():
    """Each basket's accepted lines {sku: quantity}, and each product's price in cents."""
    baskets, prices = {}, {}
    with open(ROOT / "tests/data/baskets.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            lines = baskets.setdefault(row["basket_id"], collections.Counter())
            sku, quantity = row["product_id"], int(row["quantity"])
            if accepted(quantity):
                lines[sku] += quantity
                if sku not in prices:
                    cents = decimal.Decimal(row["sales_value"]) * 100 / quantity
                    prices[sku] = max(1, int(cents.quantize(decimal.Decimal(1), decimal.ROUND_HALF_UP)))
    return baskets, prices


def stock_of(baskets):
    """95 % of what is wanted of each product, rounded up."""
    demand = sum(baskets.values(), collections.Counter())
    return {sku: -(-wanted * 95 // 100) for sku, wanted in demand.items()}


def environment():
    """The stopped stack's settings: its log can still be read."""
    script = f". '{STACK}/env' && env -0"
    out = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE).stdout.decode()
    return dict(pair.split("=", 1) for pair in out.split("\0") if pair)


def order_events():
    orderlog = os.environ.get("ORDERLOG_BIN", str(ROOT / "build/orderlog"))
    command = [orderlog, "tail", "-t", "shop.order.events.v1", "-o", "beginning", "-e", "--output", "json"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout.decode()
    return [json.loads(line) for line in out.splitlines()]


def check(right, what):
    if not right:
        sys.exit(f"FAIL: {what}")


def check_report(result):
    outcomes = {name: count for name, count in result["outcomes"].items() if count}
    check(result["baskets"] == 2161, f"baskets: {result['baskets']}")
    check(sum(outcomes.values()) == 2161, f"outcomes do not add up: {outcomes}")
    check(set(outcomes) == {"completed", "rejected:out-of-stock", "empty"}, f"other outcomes: {outcomes}")
    check(outcomes["empty"] == 160, f"empty: {outcomes['empty']}")
    # One after the other it is 1,933; several at once may differ in who gets the last one.
    check(abs(outcomes["completed"] - 1933) <= 20, f"completed: {outcomes['completed']}")
    check(result["violations"] == 0, f"violations: {result['violations']}")
    check(result["revenue"]["currency"] == "USD", f"currency: {result['revenue']}")


def check_orders(result, events, baskets, prices):
    """Every completed order is one basket, at the right prices; together they are the revenue; no stock was oversold."""
    placed = {e["event"]["order_id"]: e["event"] for e in events if e["type"].endswith(".OrderPlaced")}
    completed = [e["event"]["order_id"] for e in events if e["type"].endswith(".OrderCompleted")]
    check(len(completed) == len(set(completed)) == result["outcomes"]["completed"], f"OrderCompleted: {len(completed)}")
    open_baskets = collections.Counter(frozenset(lines.items()) for lines in baskets.values() if lines)
    sold, revenue = collections.Counter(), 0
    for order_id in completed:
        lines = {line["sku"]: line["quantity"] for line in placed[order_id]["lines"]}
        basket = frozenset(lines.items())
        check(open_baskets[basket] > 0, f"{order_id} is no basket, or one that was sold before: {lines}")
        open_baskets[basket] -= 1
        total = sum(prices[sku] * quantity for sku, quantity in lines.items())
        check(placed[order_id]["totals"]["total"] == {"minor": total, "currency": "USD"}, f"{order_id}: not {total}")
        sold.update(lines)
        revenue += total
    check(revenue == result["revenue"]["minor"], f"revenue: {result['revenue']} but orders add up to {revenue}")
    for sku, stock in stock_of(baskets).items():
        check(sold[sku] <= stock, f"{sku}: {sold[sku]} sold of {stock}")


def main():
    subprocess.run([str(ROOT / "infra/local/demo")], check=True, stdin=subprocess.DEVNULL)
    with open(ROOT / "var/demo.json", encoding="utf-8") as file:
        result = json.load(file)
    baskets, prices = read_baskets()
    check_report(result)
    check_orders(result, order_events(), baskets, prices)
    left = [path.name for path in (STACK / "run").glob("*.pid")]
    check(not left, f"still there after the demo: {left}")


if __name__ == "__main__":
    main()
