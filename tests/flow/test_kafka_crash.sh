#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Over Kafka, each role a process: each of them, the broker, PostgreSQL and Redis are killed hard in the middle of a feed.
# Whatever was in the middle of what, every basket ends once, and nothing that must hold is broken.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

kafka_flow_start 420
feed_start "$baskets" 4
orders=0
for name in "${roles[@]}" kafka postgres redis kafka; do
    await_orders $((orders += 30))
    say "kill -9 of $name after $orders orders"
    kill_hard "$name"
    stack_await
done
feed_finish "$baskets"
settle_and_verify
