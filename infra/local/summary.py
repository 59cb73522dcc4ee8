"""The demo's last page: summary.py FEED.json VERIFY.json UNKNOWN.json OUT.json

Prints what happened, from the feed's report, the verifier's and PostgreSQL's views (DATABASE_URL), and writes the numbers
to OUT.json. Exits 1 when an invariant is violated or when the three do not tell the same story.
"""
import json
import os
import subprocess
import sys

BAR_WIDTH = 34


def query(sql):
    """The rows of a query, each a dict."""
    wrapped = f"SELECT coalesce(json_agg(q), '[]') FROM ({sql}) q"
    command = ["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", os.environ["DATABASE_URL"], "-c", wrapped]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def money(minor, currency):
    sign = {"USD": "$", "EUR": "€", "GBP": "£"}.get(currency, currency + " ")
    return f"{sign}{minor // 100:,}.{minor % 100:02d}"


def print_outcomes(feed):
    print(f"  Baskets {feed['baskets']:>17,}")
    for outcome, count in sorted(feed["outcomes"].items(), key=lambda item: -item[1]):
        share = count / feed["baskets"]
        bar = "█" * max(1, round(share * BAR_WIDTH)) if count else ""
        print(f"    {outcome.replace('rejected:', ''):<14} {count:>6,}  {share:>6.1%}  {bar}")


def print_sales(feed, sold):
    revenue, currency = feed["revenue"]["minor"], feed["revenue"]["currency"]
    completed = feed["outcomes"].get("completed", 0)
    print(f"\n  Revenue {money(revenue, currency):>17}", end="")
    print(f"  ({money(revenue // completed, currency)} an order)" if completed else "")
    print("\n  Best sellers")
    for row in sold[:5]:
        print(f"    {row['sold']:>6,} × {row['name'][:36]:<36} {row['sku']:>8} {money(row['revenue'], currency):>12}")
    print(f"\n  Sold out {feed['sold_out']:>16,}  of {len(sold):,} products that sold")
    for reason, count in sorted(feed.get("refused_lines", {}).items()):
        print(f"  Lines refused {count:>11,}  ({reason})")


def print_checks(feed, verify):
    looked_at = sum(check["count"] for check in verify["checks"])
    print(f"\n  Time {feed['seconds']:>18.1f} s  ({feed['baskets'] / max(feed['seconds'], 0.001):,.0f} baskets a second)")
    print(f"  Invariants {len(verify['checks']):>14}  checked against {looked_at:,} facts: ", end="")
    print("all hold" if verify["violations"] == 0 else f"{verify['violations']:,} VIOLATIONS")
    for check in verify["checks"]:
        if check["violations"]:
            print(f"    {check['name']}: {check['violations']:,}, the first: {check.get('first')}")


def print_payments(ledger, unknown):
    events = {row["name"]: row["count"] for row in query(
        "SELECT regexp_replace(type, '.*[.]', '') AS name, count(*) FROM view.order_events"
        " WHERE topic = 'shop.payment.events.v1' GROUP BY 1")}
    print(f"\n  Payments {events.get('PaymentRequested', 0):>16,}  attempts: {events.get('PaymentDeclined', 0):,} declined, "
          f"{events.get('PaymentOutcomeUnknown', 0):,} without an answer at first, {unknown['total']:,} without one now")
    print(f"  Provider's ledger {ledger.get('count', 0):>7,}  payments compared with the log: {ledger.get('note', 'not equal')}")


def ledger_of(verify):
    return next((check for check in verify["checks"] if check["name"] == "provider-equals-log"), {})


def disagreements(feed, verify, unknown, totals):
    """What keeps this run from counting as a success."""
    if not ledger_of(verify).get("count"):
        yield "the provider's ledger was not compared"
    if unknown["total"]:
        yield f"{unknown['total']:,} calls to the provider have no outcome"
    if sum(feed["outcomes"].values()) != feed["baskets"]:
        yield f"the outcomes add up to {sum(feed['outcomes'].values()):,}, not to {feed['baskets']:,} baskets"
    if totals["completed"] != feed["outcomes"].get("completed", 0):
        yield f"PostgreSQL knows {totals['completed']:,} completed orders"
    if totals["revenue"] != feed["revenue"]["minor"]:
        yield f"PostgreSQL's completed orders add up to {totals['revenue']:,} minor units"
    if verify["violations"]:
        yield f"{verify['violations']:,} violations of what must always hold"


def write_result(path, feed, verify):
    result = {name: feed[name] for name in ("baskets", "outcomes", "revenue", "seconds")}
    result["violations"] = verify["violations"]
    with open(path + ".new", "w", encoding="utf-8") as out:
        json.dump(result, out, indent=2)
        out.write("\n")
    os.replace(path + ".new", path)


def main(feed_path, verify_path, unknown_path, out_path):
    sys.stdout.reconfigure(encoding="utf-8")
    with open(feed_path, encoding="utf-8") as file:
        feed = json.load(file)
    with open(verify_path, encoding="utf-8") as file:
        verify = json.load(file)
    with open(unknown_path, encoding="utf-8") as file:
        unknown = json.load(file)
    sold = query("SELECT sku, max(name) AS name, sum(quantity) AS sold, sum(line_total_minor) AS revenue"
                 " FROM view.order_lines JOIN view.orders USING (order_id) WHERE status = 'completed'"
                 " GROUP BY sku ORDER BY sold DESC, revenue DESC, sku")
    totals = query("SELECT count(*) AS completed, coalesce(sum(total_minor), 0) AS revenue"
                   " FROM view.orders WHERE status = 'completed'")[0]
    print()
    print_outcomes(feed)
    print_sales(feed, sold)
    print_payments(ledger_of(verify), unknown)
    print_checks(feed, verify)
    write_result(out_path, feed, verify)
    print(f"\n  The numbers are in {out_path}\n")
    wrong = list(disagreements(feed, verify, unknown, totals))
    for line in wrong:
        print(f"NOT RIGHT: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
