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
ORDERLOG = os.environ.get("ORDERLOG_BIN", str(ROOT / "build/orderlog"))


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


def environment(stack):
    """The settings of a stack."""
    script = f". '{stack}/env' && env -0"
    out = subprocess.run(["bash", "-c", script], check=True, stdout=subprocess.PIPE).stdout.decode()
    return dict(pair.split("=", 1) for pair in out.split("\0") if pair)


def order_events(settings):
    command = [ORDERLOG, "tail", "-t", "shop.order.events.v1", "-o", "beginning", "-e", "--output", "json"]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=settings).stdout.decode()
    return [json.loads(line) for line in out.splitlines()]


def check(right, what):
    if not right:
        sys.exit(f"FAIL: {what}")


def check_report(result, baskets, sold):
    """sold: the lines of each of the baskets that were taken, of all that `baskets` has."""
    outcomes = {name: count for name, count in result["outcomes"].items() if count}
    check(result["baskets"] == len(sold), f"baskets: {result['baskets']}")
    check(sum(outcomes.values()) == len(sold), f"outcomes do not add up: {outcomes}")
    check(set(outcomes) <= {"completed", "rejected:out-of-stock", "empty"}, f"other outcomes: {outcomes}")
    check(outcomes.get("empty", 0) == sold.count({}), f"empty: {outcomes.get('empty')}")
    # One after the other it is 1,933 of all; several at once may differ in who gets the last one.
    one_by_one = completed_one_by_one(sold, stock_of(baskets))
    check(abs(outcomes["completed"] - one_by_one) <= 20, f"completed: {outcomes['completed']}, not about {one_by_one}")
    check(result["violations"] == 0, f"violations: {result['violations']}")
    check(result["revenue"]["currency"] == "USD", f"currency: {result['revenue']}")


def completed_one_by_one(sold, stock):
    left, completed = dict(stock), 0
    for lines in sold:
        if lines and all(left[sku] >= quantity for sku, quantity in lines.items()):
            completed += 1
            for sku, quantity in lines.items():
                left[sku] -= quantity
    return completed


def check_orders(result, events, baskets, prices, taken):
    """Every completed order is one basket, at the right prices; together they are the revenue; no stock was
    oversold. Every basket of which nobody else could take the last one is among them."""
    placed = {e["event"]["order_id"]: e["event"] for e in events if e["type"].endswith(".OrderPlaced")}
    completed = [e["event"]["order_id"] for e in events if e["type"].endswith(".OrderCompleted")]
    check(len(completed) == len(set(completed)) == result["outcomes"]["completed"], f"OrderCompleted: {len(completed)}")
    open_baskets = collections.Counter(frozenset(lines.items()) for lines in taken if lines)
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
    demand = sum(taken, collections.Counter())
    stock = stock_of(baskets)
    for basket, count in open_baskets.items():
        check(not count or any(demand[sku] > stock[sku] for sku, _ in basket), f"not completed, without a race: {basket}")
    for sku, stock in stock.items():
        check(sold[sku] <= stock, f"{sku}: {sold[sku]} sold of {stock}")


def run(options, name, limit=None):
    """infra/local/demo with these options, whose files are var/NAME*, and then its result against the baskets, of which it
    sells the first `limit`."""
    if limit:
        options = [*options, "--baskets", str(limit)]
    subprocess.run([str(ROOT / "infra/local/demo"), *options], check=True, stdin=subprocess.DEVNULL)
    with open(ROOT / f"var/{name}.json", encoding="utf-8") as file:
        result = json.load(file)
    baskets, prices = read_baskets()
    taken = list(baskets.values())[:limit]
    check_report(result, baskets, taken)
    return result, baskets, prices, taken


def check_stopped(stack):
    left = [path.name for path in (stack / "run").glob("*.pid")]
    check(not left, f"still there after the demo: {left}")
