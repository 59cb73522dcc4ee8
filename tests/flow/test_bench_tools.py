#!/usr/bin/env python3
# ctest: TIMEOUT=300
"""The scripts of tests/bench run, and print what they say they do. Nothing here is about speed."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

BENCH = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2]) / "tests/bench"
SMALL = ["--orders", "40", "--warmup", "5", "--skus", "20"]


class Tools(unittest.TestCase):
    def run_tool(self, name, *options):
        done = subprocess.run([str(BENCH / name), *options], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout), done.stderr

    def test_order_cost(self):
        result, told = self.run_tool("order_cost", "--median", "2", "--statements", *SMALL)
        self.assertEqual(result["orders"], 40)
        self.assertEqual(result["cpu_us_per_order"]["total"], result["runs"][0])
        self.assertEqual(result["runs"], sorted(result["runs"]))
        self.assertEqual(told.count('{"orders": 40'), 2)
        self.assertRegex(told, r"PostgreSQL's statements: \d+ us")
        self.assertRegex(told, r"\n +[\d.]+ .*decider\.outbox")

    def test_a_bench_that_fails_before_it_measures(self):
        done = subprocess.run([str(BENCH / "order_cost"), "--statements", "--lines", "3", "--skus", "1"],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("orderlog bench ended with status 2", done.stderr)

    def test_limits(self):
        result, told = self.run_tool("limits", "--seconds", "0.1")
        self.assertEqual(len(result), 10)
        for name, part in result.items():
            self.assertGreater(part["per_s"], 0, name)
            self.assertGreater(part["cpu_us"]["total"], 0, name)
            self.assertIn(name, told)

    def test_rebuild_rate(self):
        result, _ = self.run_tool("rebuild_rate", "--million", "0.02", "--again")
        self.assertGreaterEqual(result["log_events"], 20000)
        first, again = result["rebuilds"][:2], result["rebuilds"][2:]
        self.assertEqual([part["model"] for part in result["rebuilds"]], ["postgres", "redis"] * 2)
        self.assertFalse(any(part["compared"] for part in first))
        for part in again:
            self.assertTrue(part["compared"] and part["swapped"])
            self.assertEqual(part["differences"], 0)
            self.assertGreater(part["rows_compared"], 1000)
            self.assertGreater(part["events_per_s"], 0)

    def test_first_order(self):
        result, _ = self.run_tool("first_order", "--starts", "1")
        self.assertEqual(result["median_s"], result["later_starts"][0]["confirmed_s"])
        for times in (result["first_start"], *result["later_starts"]):
            self.assertGreater(times["listening_s"], 0)
            self.assertGreater(times["confirmed_s"], times["listening_s"])


if __name__ == "__main__":
    if "ORDERLOG_BIN" not in os.environ:
        sys.exit("ORDERLOG_BIN names the binary to test")
    unittest.main()
