"""Files of `orderlog export` of one range, read by other programs' readers, against each other and against the views:
analysts_check.py FOLDER, with TOPIC.avro and TOPIC.jsonl of every topic, and libpq's variables set for the analysts' role."""
import collections
import csv
import datetime
import json
import pathlib
import subprocess
import sys

import duckdb
import duckdb_extension_avro
import fastavro
import pandas

import avro_reader

wrong = []


def check(right, what):
    if not right:
        wrong.append(what)
        print(f"WRONG: {what}")


def view(sql):
    """The rows of a query, as text."""
    out = subprocess.run(["psql", "-X", "-q", "--csv", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql], check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    return [tuple(row) for row in csv.reader(out.splitlines())]


# ---- fastavro: each record of an Avro file is the JSON line's -----------------------------------------------------


def same_record(line, record):
    time = datetime.datetime.fromisoformat(line["timestamp"].replace("Z", "+00:00"))
    plain = all(line[name] == record[name] for name in ("topic", "partition", "offset", "key", "type", "headers"))
    event = record["event"] is None if line["event"] is None else avro_reader.same(line["event"], record["event"])
    return plain and event and time == record["timestamp"]


def compare_files(folder):
    records = 0
    for path in sorted(folder.glob("*.avro")):
        with open(path, "rb") as file, open(path.with_suffix(".jsonl"), encoding="utf-8") as lines:
            avro = list(fastavro.reader(file))
            rows = [json.loads(line) for line in lines]
        check(len(avro) == len(rows), f"{path.name}: {len(avro)} records, {len(rows)} lines")
        check(all(map(same_record, rows, avro)), f"{path.name}: a record is not its line")
        records += len(avro)
    check(records > 3000, f"only {records} records")
    print(f"fastavro: {records} records are their JSON lines")


# ---- pandas, from Avro ---------------------------------------------------------------------------------------------


def frame(folder, topic):
    with open(folder / f"{topic}.avro", "rb") as file:
        data = pandas.DataFrame(fastavro.reader(file))
    data["name"] = data.type.str.split(".").str[-1]
    return data


def totals_of_orders(folder):
    """What each confirmed order comes to, in cents; and those that were cancelled after that."""
    orders = frame(folder, "shop.order.events.v1")
    orders["order_id"] = orders.event.map(lambda event: str(event["order_id"]))
    placed = orders[orders.name == "OrderPlaced"].set_index("order_id").event
    cents = placed.map(lambda event: event["totals"]["total"]["minor"])
    confirmed = orders[orders.name == "OrderConfirmed"]
    cancelled = set(orders[orders.name == "OrderCancelled"].order_id) & set(confirmed.order_id)
    return cents, confirmed, cancelled


def compare_pandas(folder):
    cents, confirmed, cancelled = totals_of_orders(folder)
    sales = {order: cents[order] for order in confirmed.order_id}
    rows = {order: (int(minor), sale) for order, minor, sale in
            view("SELECT order_id, total_minor, is_sale FROM v_orders WHERE confirmed_at IS NOT NULL")}
    check(rows == {order: (minor, "f" if order in cancelled else "t") for order, minor in sales.items()}, "pandas: orders")
    by_hour = confirmed.assign(cents=confirmed.order_id.map(cents), hour=confirmed.timestamp.dt.floor("h"))
    sums = {str(hour): (int(part.cents.sum()), len(part)) for hour, part in by_hour.groupby("hour")}
    rows = {hour: (int(minor), int(orders)) for hour, minor, orders in
            view("SELECT to_char(hour, 'YYYY-MM-DD HH24:MI:SS+00:00'), revenue_minor, orders FROM v_sales_by_hour "
                 "WHERE orders > 0")}
    check(rows == sums, f"pandas: hours {rows} but the events say {sums}")
    payments = frame(folder, "shop.payment.events.v1")
    taken = payments[payments.name == "PaymentCaptured"].event.map(lambda event: event["amount"]["minor"])
    captured = view("SELECT count(*), sum(amount_minor), (sum(amount) * 100)::bigint FROM v_payments WHERE status = 'captured'")
    check(captured == [(str(len(taken)), str(taken.sum()), str(taken.sum()))], f"pandas: captured {captured}, {taken.sum()}")
    print(f"pandas: {len(sales)} confirmed orders, {sum(sales.values())} cents, {len(cancelled)} cancelled")


# ---- DuckDB, from JSON lines and from Avro ---------------------------------------------------------------------------


def duck_rows(connection, sql):
    return [tuple(str(value) for value in row) for row in connection.execute(sql).fetchall()]


def compare_sellers(connection, folder):
    """Best sellers from the lines of the orders, by either kind of file."""
    pieces = pathlib.Path(duckdb_extension_avro.__file__).parent.glob("extensions/*/avro.duckdb_extension")
    connection.load_extension(str(next(pieces)))
    sources = {"JSON": (f"read_json('{folder}/shop.order.events.v1.jsonl')", "event"),
               "Avro": (f"read_avro('{folder}/shop.order.events.v1.avro')", "event.u0")}
    sellers = view("SELECT sku, units, revenue_minor FROM v_best_sellers ORDER BY sku")
    check(len(sellers) > 100, f"only {len(sellers)} best sellers")
    for kind, (source, event) in sources.items():
        rows = duck_rows(connection, f"""
            WITH placed AS (SELECT key, unnest({event}.lines) AS line FROM {source} WHERE type LIKE '%.OrderPlaced'),
                 sold AS (SELECT key FROM {source} WHERE type LIKE '%.OrderConfirmed'
                          EXCEPT SELECT key FROM {source} WHERE type LIKE '%.OrderCancelled')
            SELECT line.sku, sum(line.quantity), sum(line.line_total.minor) FROM placed SEMI JOIN sold USING (key)
            GROUP BY ALL ORDER BY ALL""")
        check(rows == sellers, f"DuckDB, {kind}: best sellers")
    print(f"DuckDB: {len(sellers)} products sold, by JSON lines and by Avro")


def compare_conversion(connection, folder):
    carts = f"'{folder}/shop.cart.events.v1.jsonl'"
    made = duck_rows(connection, f"""
        SELECT count(DISTINCT key), count(DISTINCT key) FILTER (WHERE type LIKE '%.CheckoutRequested') FROM {carts}""")
    check(made == view("SELECT sum(carts), sum(checked_out) FROM v_conversion"), f"DuckDB: carts {made}")


def compare_ledger(folder):
    """The counters of each change, from the events, are the ledger's; and no change is missing."""
    changes = collections.Counter()
    for topic in ("shop.stock.events.v1", "shop.reservation.events.v1"):
        data = frame(folder, topic)
        for event, name in zip(data.event, data.name):
            if name in ("StockLevelChanged", "StockRefused", "StockShort", "CommandRefused"):
                continue
            for line in event.get("lines", [event]):
                counters = line["counters"]
                changes[(line["sku"], str(counters["version"]), str(line["quantity"]), str(counters["available"]))] += 1
    rows = collections.Counter(view("SELECT sku, version, quantity, available FROM v_stock_ledger"))
    check(rows == changes, f"ledger: {len(rows)} rows, {len(changes)} changes in the events")
    check(len(rows) > 500, f"only {len(rows)} changes of stock")


def main(folder):
    folder = pathlib.Path(folder)
    connection = duckdb.connect()
    compare_files(folder)
    compare_pandas(folder)
    compare_sellers(connection, folder)
    compare_conversion(connection, folder)
    compare_ledger(folder)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
