#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Two of three brokers are killed hard in the middle of a feed and stay away: each write is answered in time, and none is
# taken that is not kept (tests/support/away.py). When they are back, all goes on without a restart.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

kafka_flow_start 160 --brokers 3 --deciders together
remember_pids
await_more 10
away_start outage
say "two brokers are away"
touch "$dir/away/away"
kill_and_hold kafka-1
kill_and_hold kafka-3
until_within 120 "writes that are refused" test -e "$dir/away/refused"
touch "$dir/away/back"
service_back kafka-1
service_back kafka-3
say "they are back"
until_within 120 "writes that are taken again" test -e "$dir/away/taken-again"
away_finish
await_more 10
feed_finish "$fed"
settle_and_verify
none_was_started_again
