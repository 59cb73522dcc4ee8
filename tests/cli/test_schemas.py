#!/usr/bin/env python3
# ctest: TIMEOUT=300
"""orderlog schemas against a running registry: pushed once and for all, a breaking change refused with the reason, ids kept,
and what goes wrong on the way said."""
import base64
import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(os.environ.get("ORDERLOG_SOURCE") or pathlib.Path(__file__).resolve().parents[2])
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests/support"))
import apicurio  # noqa: E402

BIN = os.environ.get("ORDERLOG_BIN") or ROOT / "build/orderlog"
TOPIC = "shop.checkout.requests.v1"
SUBJECT = f"/subjects/{TOPIC}-value"
IDS = {topic: ids for topic, ids in json.loads((ROOT / "schemas/ids.json").read_text()).items() if topic.startswith("shop.")}


def run(*args, **settings):
    """(exit status, rows or None, standard error)"""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ORDERLOG_SCHEMA")}
    done = subprocess.run([BIN, "schemas", *map(str, args)], env={**env, **settings}, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout)["versions"] if done.stdout else None, done.stderr


def without_docs(node):
    if isinstance(node, dict):
        return {name: without_docs(value) for name, value in node.items() if name != "doc"}
    return [without_docs(item) for item in node] if isinstance(node, list) else node


class Registry(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        try:
            cls.registry = cls.enterClassContext(apicurio.Apicurio(folder))
        except apicurio.NotHere as why:
            if os.environ.get("CI"):
                raise
            raise unittest.SkipTest(str(why)) from why

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        for subject in self.registry.call("GET", "/subjects")[1]:
            self.registry.call("DELETE", f"/subjects/{subject}")
            self.registry.call("DELETE", f"/subjects/{subject}?permanent=true")

    def orderlog(self, *args):
        return run(*args, "--registry", self.registry.url)

    def schema(self):
        return json.loads((ROOT / f"schemas/{TOPIC}.avsc").read_text())

    def test_pushed_once(self):
        status, rows, _ = self.orderlog("check")
        self.assertEqual((status, {row["state"] for row in rows}), (0, {"absent"}))
        status, rows, _ = self.orderlog("push")
        self.assertEqual((status, {row["state"] for row in rows}), (0, {"pushed"}))
        self.assertEqual([(row["topic"], row["schema"]) for row in rows], [(topic, i) for topic in sorted(IDS) for i in IDS[topic]])
        self.assertEqual(sorted(self.registry.call("GET", "/subjects")[1]), sorted(f"{topic}-value" for topic in IDS))
        ids = {row["schema"]: row["id"] for row in rows}
        for command in "push", "check", "pull":
            status, again, _ = self.orderlog(command)
            self.assertEqual((status, {row["state"] for row in again}), (0, {"there"}))
            self.assertEqual({row["schema"]: row["id"] for row in again}, ids)
        self.assertEqual(self.registry.call("GET", SUBJECT + "/versions")[1], [1])
        self.assertEqual(self.registry.call("GET", f"/config/{TOPIC}-value")[1]["compatibilityLevel"], "BACKWARD_TRANSITIVE")

    def test_what_is_there_is_what_was_released(self):
        self.orderlog("push")
        for row in self.orderlog("pull", "--to", self.folder / "pulled", "--ids", self.folder / "ids")[1]:
            text = self.registry.call("GET", f"/schemas/ids/{row['id']}")[1]["schema"]
            current = row["schema"] == IDS[row["topic"]][-1]
            path = ROOT / "schemas" / (f"{row['topic']}.avsc" if current else f"history/{row['topic']}/{row['schema']}.avsc")
            self.assertEqual(json.loads(text), without_docs(json.loads(path.read_text())))  # logical types and defaults and all
            self.assertEqual(json.loads(row["text"]), json.loads(text))
            self.assertEqual((self.folder / f"pulled/{row['topic']}/{row['version']}.avsc").read_text(), text)
            self.assertIn(f"\n{row['topic']} {row['schema']} {row['id']}\n", (self.folder / "ids").read_text())

    def test_a_breaking_change_is_refused_with_the_reason(self):
        other = self.schema()
        other[0]["fields"] = [{"name": "cart_id", "type": "long"}]
        self.registry.call("POST", SUBJECT + "/versions", {"schema": json.dumps(other)})
        self.registry.call("PUT", f"/config/{TOPIC}-value", {"compatibility": "BACKWARD"})
        for command in "check", "push":
            status, rows, _ = self.orderlog(command, "-t", TOPIC)
            self.assertEqual((status, rows[0]["state"], rows[0]["id"]), (1, "refused", None))
            self.assertIn("reader union lacking writer type", rows[0]["why"])
        self.assertEqual([row["state"] for row in rows if row["schema"] is None], [])
        self.assertEqual(self.registry.call("GET", SUBJECT + "/versions")[1], [1])

    def test_a_newer_version_than_this_programs(self):
        self.orderlog("push", "-t", TOPIC)
        newer = without_docs(self.schema())
        newer[0]["fields"].append({"name": "note", "type": "string", "default": ""})
        self.assertEqual(self.registry.call("POST", SUBJECT + "/versions", {"schema": json.dumps(newer)})[0], 200)
        for command in "check", "pull":
            status, rows, _ = self.orderlog(command, "-t", TOPIC)
            self.assertEqual((status, [row["state"] for row in rows]), (1, ["there", "unknown"]))
            self.assertEqual((rows[1]["schema"], rows[1]["version"]), (None, 2))
        self.assertEqual(self.orderlog("push", "-t", TOPIC)[:1], (0,))
        self.assertEqual(self.registry.call("GET", SUBJECT + "/versions")[1], [1, 2])

    def test_an_operators_level_stays(self):
        self.registry.call("POST", SUBJECT + "/versions", {"schema": json.dumps(without_docs(self.schema()))})
        self.registry.call("PUT", f"/config/{TOPIC}-value", {"compatibility": "FULL"})
        self.assertEqual(self.orderlog("push", "-t", TOPIC)[0], 0)
        self.assertEqual(self.registry.call("GET", f"/config/{TOPIC}-value")[1]["compatibilityLevel"], "FULL")

    def test_another_server_altogether(self):
        status, rows, err = run("check", "--registry", self.registry.base)
        self.assertEqual((status, rows), (2, None))
        self.assertIn("schema registry", err)

    def test_a_file_that_cannot_be_written(self):
        status, _, err = self.orderlog("push", "-t", TOPIC, "--ids", "/nowhere/ids")
        self.assertEqual(status, 2)
        self.assertIn("/nowhere/ids: No such file", err)


class Guarded(http.server.BaseHTTPRequestHandler):
    """A registry of nothing that wants credentials."""
    wanted = ""

    def log_message(self, *_):
        pass

    def do_GET(self):
        known = self.headers.get("Authorization") == self.wanted
        body = b'{"error_code":40401,"message":"no subject"}' if known else b"<html>no</html>"
        self.send_response(404 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Settings(unittest.TestCase):
    def setUp(self):
        server = self.enterContext(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Guarded))
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(server.shutdown)
        self.url = f"http://127.0.0.1:{server.server_port}/"

    def check(self, **settings):
        return run("check", "-t", TOPIC, **{"ORDERLOG_SCHEMA_REGISTRY": self.url, **settings})

    def test_credentials(self):
        Guarded.wanted = "Basic " + base64.b64encode(b"shop:s\xc3\xa9cret:1").decode()
        basic = {"ORDERLOG_SCHEMA_REGISTRY_USER": "shop", "ORDERLOG_SCHEMA_REGISTRY_PASSWORD": "s\u00e9cret:1"}
        self.assertEqual(self.check(**basic)[0], 0)
        Guarded.wanted = "Bearer tok.en"
        self.assertEqual(self.check(ORDERLOG_SCHEMA_REGISTRY_TOKEN="tok.en")[0], 0)
        for settings in basic, {}:
            status, rows, err = self.check(**settings)
            self.assertEqual((status, rows), (2, None))
            self.assertIn("refuses GET /subjects/shop.checkout.requests.v1-value/versions with 401", err)
            self.assertNotIn("cret", err)

    def test_what_is_set_up_wrongly(self):
        for settings, why in (({"ORDERLOG_SCHEMA_REGISTRY": ""}, "is not set"), ({"ORDERLOG_SCHEMA_REGISTRY": "ftp://x"}, "http(s) URL"),
                              ({"ORDERLOG_SCHEMA_REGISTRY": "https://me:secret@host/"}, "must hold no user"),
                              ({"ORDERLOG_SCHEMA_REGISTRY_TOKEN": "a", "ORDERLOG_SCHEMA_REGISTRY_USER": "b"}, "both set"),
                              ({"ORDERLOG_SCHEMA_REGISTRY": "http://127.0.0.1:1"}, "127.0.0.1:1"),
                              ({"ORDERLOG_SCHEMA_REGISTRY": "https" + self.url[4:]}, "SSL"),
                              ({"ORDERLOG_SCHEMA_REGISTRY_CA": "/nowhere", "ORDERLOG_SCHEMA_REGISTRY": "https" + self.url[4:]}, "/nowhere")):
            status, rows, err = self.check(**settings)
            self.assertEqual((status, rows), (2, None))
            self.assertIn(why, err)
            self.assertNotIn("secret", err)

    def test_usage(self):
        for args in ((), ("put",), ("push", "--to", "x"), ("check", "--ids", "x"), ("push", "-t", "none"), ("push", "-t", "state/cart"), ("pull", "x")):
            status, rows, err = run(*args)
            self.assertEqual((status, rows), (2, None), args)
            self.assertIn("orderlog schemas", err)


if __name__ == "__main__":
    unittest.main()
