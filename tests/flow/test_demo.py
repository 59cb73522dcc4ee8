#!/usr/bin/env python3
# ctest: TIMEOUT=600 RUN_SERIAL=ON
"""The demo ends as an independent calculation over the same baskets does."""
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/support"))
import demo  # noqa: E402  (only now can it be found)

STACK = ROOT / "var/demo-stack"

if __name__ == "__main__":
    result, *shop = demo.run([], "demo")
    # The stack was stopped; its log can still be read.
    demo.check_orders(result, demo.order_events(demo.environment(STACK)), *shop)
    demo.check_stopped(STACK)
