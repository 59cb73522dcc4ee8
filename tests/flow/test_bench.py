#!/usr/bin/env python3
# ctest: TIMEOUT=300
"""orderlog bench: its figures are of what happened, and what cannot be measured is told. Nothing here is about speed."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
sys.path.insert(0, str(ROOT / "tests/bench"))
from stack import Stack  # noqa: E402  (only now can it be found)

ORDERLOG = os.environ["ORDERLOG_BIN"]


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = Stack().__enter__()
        cls.addClassCleanup(cls.stack.__exit__)

    def bench(self, *options, **settings):
        return subprocess.run([ORDERLOG, "bench", "--orders", "40", "--warmup", "5", "--skus", "20", *options],
                              env={**self.stack.env, **settings}, capture_output=True, text=True, check=False)

    def measured(self, *options):
        done = self.bench(*options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.stdout.count("\n"), 1)
        result = json.loads(done.stdout)
        self.assertEqual(result["orders"], 40)
        self.assertEqual((result["not_confirmed"], result["problems"]), ({}, {}))
        self.assertAlmostEqual(result["orders_per_s"] * result["seconds"], 40, delta=1)
        times = [result[name] for name in ("p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms")]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], 0)
        cpu = result["cpu_us_per_order"]
        self.assertEqual(set(cpu), {"total", "orderlog", "postgres", "redis"})
        self.assertAlmostEqual(cpu["total"], cpu["orderlog"] + cpu["postgres"] + cpu["redis"], delta=1)
        self.assertGreater(min(cpu.values()), 0)
        threads = result["orderlog_us_by_thread"]
        self.assertGreater(threads["log-writer"], 0)
        self.assertAlmostEqual(sum(threads.values()), cpu["orderlog"], delta=cpu["orderlog"] / 5)
        self.assertGreater(result["pss_mib"]["orderlog"], 1)
        return result

    def sold(self):
        """Lines of confirmed orders by product, and the orders, as PostgreSQL shows them."""
        query = ("SELECT l.sku, count(*) FROM view.order_lines l JOIN view.orders o USING (order_id) "
                 "WHERE o.status = 'confirmed' GROUP BY 1")
        rows = subprocess.run(["psql", "-XAtF,", "-d", self.stack.env["DATABASE_URL"], "-c", query], check=True,
                              capture_output=True, text=True).stdout.split()
        return {row.split(",")[0]: int(row.split(",")[1]) for row in rows}

    def test_closed_loop_with_a_hot_product(self):
        before, hooked = self.sold(), self.stack.dir / "hooked"
        result = self.measured("--concurrency", "8", "--hot", "--hook", f"echo >>{hooked}")
        self.assertEqual(hooked.read_text(encoding="utf-8"), "begin\nend\n")
        self.assertIsNone(result["rate"])
        after = self.sold()
        self.assertEqual(after["bench-hot"] - before.get("bench-hot", 0), 45)  # those of the warm-up, too
        self.assertEqual(sum(after.values()) - sum(before.values()), 3 * 45)
        # Two records of the API and at least one of each decider.
        self.assertGreater(result["records_per_order"], 6)

    def test_open_loop(self):
        file = self.stack.dir / "latencies"
        result = self.measured("--rate", "100", "--poisson", "--lines", "1", "--latencies", str(file))
        self.assertEqual((result["rate"], result["lines"]), (100, 1))
        lines = file.read_text(encoding="utf-8").splitlines()
        self.assertEqual((lines[0], len(lines)), ("start_ms,latency_ms", 41))
        self.assertEqual(max(float(line.split(",")[1]) for line in lines[1:]), result["max_ms"])

    def test_an_order_that_had_to_wait_for_its_turn_took_longer(self):
        # All are meant to start at once, and one does at a time: the last one's time is that of all.
        result = self.measured("--rate", "1000000", "--concurrency", "1")
        self.assertAlmostEqual(result["max_ms"], 1000 * result["seconds"], delta=20)
        self.assertGreater(result["max_ms"], 1.5 * result["p50_ms"])

    def test_orders_that_are_not_confirmed(self):
        # The products are taken off sale behind the bench's back.
        script = self.stack.dir / "withdraw"
        script.write_text("""#!/bin/sh
[ "$1" = begin ] || exit 0
for i in $(seq -f %05.0f 0 19); do
    curl -fsS -o /dev/null -X DELETE -H "Authorization: Bearer $ORDERLOG_OPERATOR_TOKEN" "$ORDERLOG_API/v1/products/bench-$i"
done
until "$ORDERLOG_BIN" lag --output json | grep -q '"total":0}'; do sleep 0.1; done
""", encoding="utf-8")
        done = self.bench("--hook", f"sh {script}", ORDERLOG_BIN=ORDERLOG)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("40 of 40 orders were not confirmed", done.stderr)
        result = json.loads(done.stdout)
        self.assertEqual((result["orders"], result["not_confirmed"]), (0, {"rejected": 40}))
        self.assertIsNone(result["p50_ms"])

    def refused(self, said, *options, status=2, **settings):
        done = self.bench(*options, **settings)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertIn(said, done.stderr)

    def test_what_cannot_be_measured(self):
        self.refused("is not served by the stack", "--url", "http://127.0.0.1:1")
        self.refused("is no URL such as", "--url", "127.0.0.1")
        self.refused("--run-dir", "--run-dir", str(self.stack.dir / "none"))
        self.refused("401", ORDERLOG_OPERATOR_TOKEN="another")
        limited = subprocess.run(["bash", "-c", "ulimit -n 100; exec \"$0\" bench --concurrency 200", ORDERLOG],
                                 env=self.stack.env, capture_output=True, text=True, check=False)
        self.assertEqual(limited.returncode, 2)
        self.assertIn("200 connections need more file descriptors", limited.stderr)
        self.refused("--rate must be", "--rate", "fast")
        self.refused("--poisson needs --rate", "--poisson")
        self.refused("--skus must not be less", "--skus", "2")

    def test_a_stack_with_another_provider(self):
        settings = {**self.stack.env, "ORDERLOG_PROVIDER": "http://127.0.0.1:1", "ORDERLOG_PROVIDER_SECRET": "s" * 32}
        other = subprocess.Popen([ORDERLOG, "provider", "--db", str(self.stack.dir / "provider.db"), "--listen",
                                  "127.0.0.1:0"], env=settings, stdout=subprocess.PIPE, text=True)
        try:
            self.assertIn("http://", other.stdout.readline())  # it runs
            run = self.stack.dir / "charging"
            run.mkdir()
            (run / "up.pid").write_text(str(other.pid), encoding="utf-8")
            self.refused("has the payment provider 'http://127.0.0.1:1'", "--run-dir", str(run))
        finally:
            other.terminate()
            other.communicate(timeout=30)

    def test_a_server_that_is_not_there(self):
        # Whose pid files say nothing of a port, as those of another process.
        run = self.stack.dir / "other"
        run.mkdir()
        (run / "redis.pid").write_text(str(self.stack.pid("redis")), encoding="utf-8")
        self.refused("cannot be reached", "--run-dir", str(run), "--url", "http://127.0.0.1:1")


if __name__ == "__main__":
    unittest.main()
