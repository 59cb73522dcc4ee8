#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Three brokers: one is killed hard in the middle of a feed and stays away, and the shop goes on without it; then it is back.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

kafka_flow_start 160 --brokers 3 --deciders together
remember_pids
await_more 10
say "one broker is away"
kill_and_hold kafka-2
until_within 120 "a cluster that goes on without it" broker_is_missed
await_more 10
service_back kafka-2
until_within 120 "a broker that has all that it missed" all_in_sync
say "it is back, and has all that it missed"
await_more 10
feed_finish "$fed"
settle_and_verify
none_was_started_again
