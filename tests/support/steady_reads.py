"""Reads orders and products through the API, and the views in PostgreSQL, again and again until a file is there: whatever was
seen once stays, in the same version or a later one, and no read fails. steady_reads.py STOP-FILE, with the stack's settings."""
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

API, TOKEN = os.environ["ORDERLOG_API"], os.environ["ORDERLOG_OPERATOR_TOKEN"]


class Psql:
    """One session, as an analyst has it open all day: what it has prepared must outlive a swap."""

    def __init__(self):
        self.process = subprocess.Popen(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", os.environ["DATABASE_URL"]],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.send("PREPARE sums AS SELECT count(*), coalesce(sum(version), 0) FROM view.orders;")
        self.send("PREPARE lines AS SELECT count(*) FROM view.order_lines l JOIN view.orders o USING (order_id);")

    def send(self, sql):
        self.process.stdin.write(sql + "\n")
        self.process.stdin.flush()

    def ask(self, sql):
        self.send(sql)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"psql ended: {sql}")
        return [int(number) for number in line.strip().split("|")]


def get(path):
    request = urllib.request.Request(API + path, headers={"Authorization": f"Bearer {TOKEN}"})
    for _ in range(5):
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            if error.code != 429:
                sys.exit(f"GET {path}: {error.code} {error.read()[:300]}")
            time.sleep(0.2)  # asked too often: that is no answer
    sys.exit(f"GET {path}: 429 again and again")


def main(stop):
    psql = Psql()
    orders, sums, lines = {}, [0, 0], [0]
    reads = 0
    while not os.path.exists(stop) or reads < 100:
        if reads % 200 == 0:
            psql.send("SELECT string_agg(order_id::text, ' ') FROM (SELECT order_id FROM view.orders WHERE status IS NOT "
                      "NULL ORDER BY random() LIMIT 40) o;")
            for order_id in psql.process.stdout.readline().split():
                orders.setdefault(order_id, 0)
        for order_id, seen in list(orders.items())[-40:]:
            version = get(f"/v1/orders/{order_id}")["version"]
            if version < seen:
                sys.exit(f"order {order_id} went from version {seen} back to {version}")
            orders[order_id] = version
            reads += 1
        now = psql.ask("EXECUTE sums;")
        if any(a < b for a, b in zip(now, sums)):
            sys.exit(f"view.orders went from {sums} back to {now}")
        sums = now
        now = psql.ask("EXECUTE lines;")
        if now < lines:
            sys.exit(f"view.order_lines went from {lines} back to {now}")
        lines = now
        if not get("/v1/products?limit=5")["items"]:
            sys.exit("there are no products")
    print(f"{reads} reads of {len(orders)} orders, {sums[0]} orders in the end")


if __name__ == "__main__":
    main(*sys.argv[1:])
