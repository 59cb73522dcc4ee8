#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# A shop that lost its Kafka cluster: archived, and restored into a new one of the same id, record for record, although the
# restore is broken off twice; the views made of it are the same, row for row, and deciders go on. What Kafka leaves out
# cannot be archived, and holds up no other topic.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"
. "$tools/s3.sh"

need_s3
python=$root/var/venv/bin/python
"$python" -c 'import confluent_kafka' || {
    say "confluent_kafka is missing (tests/run installs it)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}
place=s3://kafka-archive/log

# Every record of the log with all that it has, one a line.
dump_log() {
    "${ORDERLOG_BUILD:-$root/build}/tests/archive_log" dump "$ORDERLOG_LOG"
}

# A topic of somebody else's, written in transactions: a marker takes the last offset of the first hundred.
write_transactions() {
    "$python" - "$kafka_servers" <<'PY'
import sys
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

servers = {"bootstrap.servers": sys.argv[1]}
admin = AdminClient(servers)
for made in admin.create_topics([NewTopic("other.transactions", 1, 1)]).values():
    made.result()
producer = Producer({**servers, "transactional.id": "other"})
producer.init_transactions()
for count in (99, 1):
    producer.begin_transaction()
    for _ in range(count):
        producer.produce("other.transactions", b"a record")
    producer.commit_transaction()
PY
}

delete_topic() {
    kafka_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$kafka_servers" --delete --topic "$1"
}

# refused TEXT COMMAND...
refused() {
    local text=$1 status=0
    shift
    "$@" >"$dir/refusal" 2>&1 || status=$?
    [ "$status" = 2 ] && grep -qF "$text" "$dir/refusal" || fail "$*: status $status: $(<"$dir/refusal")"
}

# The same cluster, as it is after its storage was formatted anew with its old id.
new_cluster() {
    service_stop kafka
    rm -rf "$data/kafka/1"
    kafka_prepare 1
    kafka_launch
}

check_transactions() {
    write_transactions
    refused 'other.transactions/0: the log has no offset 99' "$ORDERLOG_BIN" archive --to s3://kafka-archive/gaps --once --flush --records 100
    grep -q 'written in transactions' "$dir/refusal" || fail "no reason: $(<"$dir/refusal")"
    "$ORDERLOG_BIN" archive verify --from s3://kafka-archive/gaps --output json |
        python3 -c 'import json, sys; sys.exit(json.load(sys.stdin)["records"] < 1000)' ||
        fail "one topic that cannot be archived holds up the others"
    delete_topic other.transactions
}

# One that others of its partition come behind: nobody could tell that a last one is missing.
middle_object() {
    find "$1" -name '*.avro' | python3 -c '
import collections, re, sys
chains = collections.defaultdict(list)
for path in map(str.strip, sys.stdin):
    topic, partition, first = re.search(r"topic=([^/]+)/.*/(\d+)-(\d+)\.avro$", path).groups()
    chains[topic, partition].append((int(first), path))
print(sorted(max(chains.values(), key=len))[-2][1])'
}

restore_killed() {
    local restore
    "$ORDERLOG_BIN" restore --from "$place" 2>"$logs/restore-killed.log" &
    restore=$!
    until [ -e "$data/kafka/1/shop.restoring.events.v1-0" ]; do # the broker's own folder: nothing is quicker
        kill -0 "$restore" 2>/dev/null || return 1
        sleep 0.01
    done
    kill -KILL "$restore" 2>/dev/null || return 1
    wait "$restore" 2>/dev/null || true
    [ -e "$data/kafka/1/shop.restoring.events.v1-0" ]
}

# Broken off while it makes topics or fills them; then by an object that is away. Nobody takes that for a whole log.
break_off() {
    local object tries=1
    until restore_killed; do # it may be over before anybody looks
        [ $((tries++)) -lt 5 ] || fail "restore ended by itself: $(<"$logs/restore-killed.log")"
        new_cluster
    done
    object=$(middle_object "$dir/s3/objects/kafka-archive/log")
    mv "$object" "$dir/away.avro"
    refused 'see orderlog archive verify' "$ORDERLOG_BIN" restore --from "$place"
    refused 'is being restored' "$ORDERLOG_BIN" topics
    mv "$dir/away.avro" "$object"
}

kafka_flow_start 110 --deciders together
s3_start kafka-archive
guests+=("$s3_pid")
feed_start 90 8
feed_finish 90
settle_and_verify
stop_together 30 "${roles[@]}"
dump_views "$dir/before"
[ "$(wc -l <"$dir/before/redis")" -gt 90 ] || fail "Redis holds next to nothing"
archive_whole "$place" --records 100
dump_log >"$dir/log-before"
check_transactions
refused 'is not empty' "$ORDERLOG_BIN" restore --from "$place"

say "The cluster is lost"
new_cluster
"$ORDERLOG_BIN" topics apply
refused 'message.timestamp.type' "$ORDERLOG_BIN" restore --from "$place"
new_cluster
break_off
"$ORDERLOG_BIN" restore --from "$place" 2>"$dir/restored" || fail "$(<"$dir/restored")"
cat "$dir/restored"
grep -q 'were there already' "$dir/restored" || fail "it did not go on with what was there"
! grep -q 'other ids' "$dir/restored" || fail "it is another log to the stores"
dump_log >"$dir/log-after"
cmp "$dir/log-before" "$dir/log-after" || fail "the restored log is another"
"$ORDERLOG_BIN" archive verify --from "$place" --output json
"$ORDERLOG_BIN" topics diff --output json || fail "topics are not set as they should be"
forget_views
roles_start
await_views "$dir/before"
feed_start "$baskets" 8
feed_finish "$baskets"
settle_and_verify
archive_whole "$place" --records 100
