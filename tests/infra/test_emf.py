#!/usr/bin/env python3
# ctest: TIMEOUT=300
"""What a process writes for CloudWatch is what the specification of the Embedded Metric Format allows: by AWS's own schema
(emf.schema.json, of its page of that name), and by what that page says beyond it."""
import json
import os
import pathlib
import queue
import signal
import subprocess
import tempfile
import threading
import urllib.request

from environment import enter

enter()

import jsonschema  # noqa: E402

HERE = pathlib.Path(__file__).parent
DEADLINE_S = 120
SCHEMA = jsonschema.Draft7Validator(json.loads((HERE / "emf.schema.json").read_text(encoding="utf-8")))


def check(line):
    assert len(line) < 256 * 1024
    document = json.loads(line)
    SCHEMA.validate(document)
    for directive in document["_aws"]["CloudWatchMetrics"]:
        assert directive["Namespace"] == "shop/test" and directive["Dimensions"] == [[]], directive
        assert len(directive["Metrics"]) <= 100
        names = [metric["Name"] for metric in directive["Metrics"]]
        assert len(set(names)) == len(names) and set(document) == {"_aws", *names}
        for name in names:
            values = document[name] if isinstance(document[name], list) else [document[name]]
            assert 1 <= len(values) <= 100 and all(isinstance(v, (int, float)) for v in values), (name, values)
    return document


def main():
    with tempfile.TemporaryDirectory() as folder:
        settings = {"ORDERLOG_LOG": f"sqlite://{folder}/log.db", "DATABASE_URL": f"postgresql:///x?host={folder}",
                    "REDIS_URL": f"unix://{folder}/redis.sock", "ORDERLOG_PROVIDER": "instant", "ORDERLOG_LISTEN": "127.0.0.1:0",
                    "ORDERLOG_EMF_SECONDS": "1", "ORDERLOG_EMF_NAMESPACE": "shop/test",
                    **{f"ORDERLOG_{name}_SECRET": "x" * 32 for name in ("SESSION", "ID", "PERSONAL")}}
        command = [os.environ["ORDERLOG_BIN"], "up"]
        process = subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            lines, port = queue.Queue(), queue.Queue()

            def started():
                for line in process.stderr:
                    if '"process.started"' in line:
                        port.put(json.loads(line)["port"])

            threads = [threading.Thread(target=lambda: [lines.put(line) for line in process.stdout]), threading.Thread(target=started)]
            for thread in threads:
                thread.start()
            url = f"http://127.0.0.1:{port.get(timeout=DEADLINE_S)}/livez"
            for _ in range(3):
                urllib.request.urlopen(url, timeout=DEADLINE_S).read()
            documents, requests, timed = [], 0, 0
            while requests < 3 or timed < 3:
                documents.append(check(lines.get(timeout=DEADLINE_S)))
                requests += documents[-1].get("orderlog_http_requests_total", 0)
                timed += documents[-1].get("orderlog_http_request_seconds_count", 0)
            assert requests == timed == 3, (requests, timed)  # what it grew by, not where it stands
            some = next(d for d in documents if d.get("orderlog_http_request_seconds_count"))
            assert 0 < some["orderlog_http_request_seconds_p50"] <= some["orderlog_http_request_seconds_p99"] <= 10
            assert all(d["orderlog_build_info"] == [1] for d in documents if "orderlog_build_info" in d)
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_S) == 0
            for thread in threads:
                thread.join(DEADLINE_S)
            while not lines.empty():
                documents.append(check(lines.get()))
            print(f"{len(documents)} documents, {len(documents[0]) - 1} metrics in the first")
        finally:
            process.kill()
            process.wait(DEADLINE_S)


main()
