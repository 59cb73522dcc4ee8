#!/usr/bin/env python3
"""The Grafana dashboard: promtool takes each of its expressions, they name only metrics that this program keeps, and the
panels are where they can be seen."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ["ORDERLOG_SOURCE"]
DASHBOARD = f"{ROOT}/infra/grafana/orderlog.json"
PROMTOOL = shutil.which("promtool") or f"{ROOT}/var/promtool/promtool"
SOURCES = ("core", "producers", "projections", "consumers", "api")
PROMETHEUS = {"up", "ALERTS"}  # its own
VARIABLES = {"$__rate_interval": "5m"}


def load():
    def no_doubles(pairs):
        assert len({name for name, _ in pairs}) == len(pairs), pairs
        return dict(pairs)
    with open(DASHBOARD, encoding="utf-8") as file:
        return json.load(file, object_pairs_hook=no_doubles)


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def sources():
    for folder in SOURCES:
        for path, _, names in os.walk(f"{ROOT}/{folder}"):
            for name in sorted(names):
                if name.endswith(".c"):
                    with open(f"{path}/{name}", encoding="utf-8") as file:
                        yield file.read()


class Dashboard(unittest.TestCase):
    def setUp(self):
        self.dashboard = load()

    def test_prometheus_takes_each_expression(self):
        rules = []
        for i, (title, expression) in enumerate(expressions(self.dashboard)):
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            self.assertNotIn("$", expression, title)
            rules.append({"record": f"panel:{i}", "expr": expression})
        self.assertGreater(len(rules), 30)
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, file)  # JSON is YAML
            file.flush()
            done = subprocess.run([PROMTOOL, "check", "rules", file.name], capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_only_metrics_that_are_kept(self):
        kept = set(re.findall(r'"((?:orderlog|process)_[a-z_]+)"', "\n".join(sources())))
        for title, expression in expressions(self.dashboard):
            bare = re.sub(r'"[^"]*"', '""', expression)
            bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(?:by|on|ignoring|without) *\([^)]*\)", "", bare)
            metrics = set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_]*(?![a-zA-Z0-9_]|\s*\()", bare)) - {"bool", "unless"}
            self.assertTrue(metrics, title)
            for metric in metrics - PROMETHEUS:
                self.assertIn(re.sub(r"_bucket$", "", metric), kept, title)

    def test_it_names_alarms_that_there_are(self):
        with open(f"{ROOT}/infra/prometheus/alerts.yml", encoding="utf-8") as file:
            alarms = set(re.findall(r"- alert: (\w+)", file.read()))
        named = {name for panel in self.dashboard["panels"]
                 for words in re.findall(r"See ([^.]*)\.", panel.get("description", ""))
                 for name in re.split(r", | and ", words)}
        self.assertGreater(len(named), 10)
        self.assertLessEqual(named, alarms)

    def test_panels_can_be_told_apart_and_seen(self):
        panels = self.dashboard["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            self.assertLessEqual(place["x"] + place["w"], 24, panel["title"])
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                     for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
            if panel["type"] == "row":
                continue
            self.assertTrue(panel["description"], panel["title"])
            self.assertEqual(panel["datasource"]["uid"], "${datasource}")
            self.assertTrue(all(target["datasource"] == panel["datasource"] for target in panel["targets"]))
        self.assertEqual([v["name"] for v in self.dashboard["templating"]["list"]], ["datasource"])
        rows = [panel["title"] for panel in panels if panel["type"] == "row"]
        self.assertEqual(rows[0], "Is the shop selling?")
        for row in ("Lag", "Latency", "Errors", "Shards and rebalances", "Outbox and timers"):
            self.assertIn(row, rows)


if __name__ == "__main__":
    if not os.access(PROMTOOL, os.X_OK):
        print("promtool is missing (tests/run fetches it)", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 77)
    unittest.main()
