#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Over Kafka, with two processes of every decider and projector: they share the shards. One of each that is killed hard and
# stays away hands its shards to the other, and has its part of them again when it is back.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

kafka_flow_start 160 --processes 2
all_shared
await_more 10
for kind in "${kinds[@]}"; do
    say "kill -9 of ${kind%:*}, which stays away"
    kill_and_hold "${kind%:*}"
done
for kind in "${kinds[@]}"; do
    one_has_all "${kind%:*}-2" "$kind"
done
await_more 10
for kind in "${kinds[@]}"; do
    service_back "${kind%:*}"
done
all_shared
await_more 10
feed_finish "$fed"
settle_and_verify
