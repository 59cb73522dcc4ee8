#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Over Kafka, with two processes of every decider and projector: one of each stands still in the middle of a feed for longer
# than its session, and the other takes over all of its shards and goes on; then it wakes in the middle of whatever it was
# at, thinking that all is still its own.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

kafka_flow_start 160 --processes 2
all_shared
# The second time the others: those take over what they had lost.
for one_and_other in :-2 -2:; do
    one=${one_and_other%:*} other=${one_and_other#*:}
    await_more 10
    say "one of each kind stands still"
    for kind in "${kinds[@]}"; do
        stand_still "${kind%:*}$other"
    done
    for kind in "${kinds[@]}"; do
        one_has_all "${kind%:*}$one" "$kind"
    done
    await_more 10
    all_go_on
    all_shared
done
await_more 10
feed_finish "$fed"
settle_and_verify
