#!/usr/bin/env bash
# ctest: TIMEOUT=400 RUN_SERIAL=ON
# What others have for Kafka works on the shop's topics: kcat, Kafka's own ConsumerGroupCommand and console consumer, a Python
# consumer with fastavro, and a parser of CloudEvents.
set -euo pipefail
. "$(dirname "$0")/../support/kafka_flow.sh"

python=$root/var/venv/bin/python
command -v kcat >/dev/null && "$python" -c 'import fastavro, confluent_kafka, cloudevents' || {
    say "kcat, confluent_kafka or cloudevents is missing (tests/run installs them)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

# Of all partitions of a topic: how many records there are (none was deleted).
records_of() {
    "$ORDERLOG_BIN" topics --output json | python3 -c '
import json, sys
print(sum(t["records"] for t in json.load(sys.stdin)["topics"] if t["topic"] == sys.argv[1]))' "$1"
}

# kcat shows a record's key, its headers, and where it is.
check_kcat() {
    kcat -b "$kafka_servers" -L -J | python3 -c '
import json, sys
topics = {t["topic"]: len(t["partitions"]) for t in json.load(sys.stdin)["topics"]}
assert topics["shop.order.events.v1"] > 1, topics' || fail "kcat -L does not show the topics"
    kcat -b "$kafka_servers" -C -t "$topic" -o beginning -e -q -f '%k|%h\n' >"$dir/kcat"
    [ "$(wc -l <"$dir/kcat")" = "$(records_of "$topic")" ] || fail "kcat sees $(wc -l <"$dir/kcat") records"
    python3 - "$dir/kcat" <<'PY' || fail "kcat shows something else"
import re, sys
for line in open(sys.argv[1], encoding="utf-8"):
    key, _, headers = line.rstrip("\n").partition("|")
    named = dict(header.split("=", 1) for header in headers.split(","))
    assert named["ce_subject"] == key and named["ce_specversion"] == "1.0", line
    assert re.fullmatch(r"shop\.order\.v1\.\w+", named["ce_type"]), line
    assert named["content-type"] == "application/avro" and named["origin"].startswith("orders/"), line
PY
}

# lag_of GROUP TOPIC: as Kafka's own tool has it; nothing when it does not know the group.
lag_of() {
    kafka_tool org.apache.kafka.tools.consumer.group.ConsumerGroupCommand --bootstrap-server "$kafka_servers" \
        --describe --group "$1" 2>"$dir/group.err" |
        awk -v topic="$2" '$2 == topic { lag += $6; seen = 1; if ($6 == "-") exit } END { if (seen) print lag }'
}

lag_is() {
    [ "$(lag_of "$1" "$2")" = "$3" ]
}

# The deciders rest while seven records are written: that is what they are behind, by Kafka's tool and by ours.
check_lag() {
    local token i
    until_within 60 "a lag of 0" lag_is checkout shop.cart.events.v1 0
    service_stop consume-all
    token=$(curl -fsS -X POST "$ORDERLOG_API/v1/sessions" | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')
    for i in 1 2 3 4 5 6 7; do
        curl -fsS -o /dev/null -X POST "$ORDERLOG_API/v1/carts" -H "Authorization: Bearer $token" -H "Idempotency-Key: l$i"
    done
    lag_is checkout shop.cart.events.v1 7 || fail "ConsumerGroupCommand sees a lag of $(lag_of checkout shop.cart.events.v1), not 7"
    "$ORDERLOG_BIN" lag --output json | python3 -c '
import json, sys
rows = [row for row in json.load(sys.stdin)["groups"] if row["group"] == "checkout"]
print(rows)
assert sum(row["lag"] for row in rows) == 7' || fail "orderlog lag sees another lag"
    role_start consume-all
    role_await consume-all
    until_within 60 "a lag of 0 again" lag_is checkout shop.cart.events.v1 0
}

check_console_consumer() {
    kafka_tool org.apache.kafka.tools.consumer.ConsoleConsumer --bootstrap-server "$kafka_servers" --topic "$topic" \
        --from-beginning --timeout-ms 5000 --property print.key=true --property print.headers=true \
        --property print.value=false >"$dir/console" 2>"$dir/console.err" || true
    [ "$(grep -c 'ce_type:shop\.order\.v1\.' "$dir/console")" = "$(records_of "$topic")" ] ||
        fail "the console consumer shows something else: $(head -n 3 "$dir/console" "$dir/console.err")"
}

topic=shop.order.events.v1
kafka_flow_start 60 --deciders together
feed_start "$baskets" 8
feed_finish "$baskets"
settle_and_verify
check_kcat
check_lag
check_console_consumer
"$python" -B "$root/tests/support/kafka_reader.py" "$kafka_servers" "$root/schemas" >"$dir/records" || {
    tail -n 20 "$dir/records"
    fail "Python reads something else"
}
tail -n 1 "$dir/records"
settle_and_verify
