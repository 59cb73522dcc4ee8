#!/usr/bin/env python3
# ctest: TIMEOUT=900 RUN_SERIAL=ON
"""The demo over Kafka ends as the same independent calculation does that the one on the embedded log is held to; so far that
KAFKA_DEMO_BASKETS says (`all`, or a number). Then its stack is started again: all is still there."""
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import demo  # noqa: E402  (only now can it be found)

BASKETS = os.environ.get("KAFKA_DEMO_BASKETS", "250")
STACK = ROOT / "var/demo-kafka-stack"


def need_kafka():
    if subprocess.run([str(ROOT / "infra/local/kafka/get")], check=False).returncode:
        print("Kafka cannot be had, so this test cannot be", file=sys.stderr)
        sys.exit(1 if os.environ.get("CI") else 77)


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def main():
    need_kafka()
    result, *shop = demo.run(["--kafka"], "demo-kafka", None if BASKETS == "all" else int(BASKETS))
    demo.check_stopped(STACK)
    try:
        subprocess.run([str(ROOT / "infra/local/up"), "--detach", "--kafka", "--dir", str(STACK), "--port",
                        str(free_port())], check=True, stdin=subprocess.DEVNULL)
        settings = demo.environment(STACK)
        demo.check_orders(result, demo.order_events(settings), *shop)
        subprocess.run([demo.ORDERLOG, "verify", "--wait", "60"], check=True, env=settings)
    finally:
        subprocess.run([str(ROOT / "infra/local/down"), "--dir", str(STACK)], check=True)


if __name__ == "__main__":
    main()
