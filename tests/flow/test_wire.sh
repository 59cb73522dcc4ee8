#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# A shop that writes as a schema registry's consumers expect: Confluent's framing by the ids of a running registry, then
# Glue's, in one log; a reader that knows the registry only reads all of it.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

cannot() {
    say "this test cannot be: $*"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}
python=$root/var/venv/bin/python
"$python" -c 'import fastavro' || cannot "fastavro is missing (tests/run makes var/venv)"
"$root/tests/support/apicurio.sh" >/dev/null || cannot "there is no registry"

need_var
held_by_test=$(mktemp -d "$root/var/test-wire.XXXXXX")
python3 -B "$root/tests/support/apicurio.py" "$held_by_test" >"$held_by_test/url" &
registry=$!
guests+=("$registry")
trap 'kill "$registry" 2>/dev/null; rm -rf "$held_by_test"' EXIT
for ((i = 0; i < 1200; i++)); do
    [ ! -s "$held_by_test/url" ] || break
    kill -0 "$registry" || fail "the registry did not start: $(tail -n 5 "$held_by_test/apicurio.log")"
    sleep 0.1
done
ORDERLOG_SCHEMA_REGISTRY=$(<"$held_by_test/url") ORDERLOG_WIRE=confluent
export ORDERLOG_SCHEMA_REGISTRY ORDERLOG_WIRE

# Ids that are nobody's pinned ones: the registry has had other schemas before ours.
"$python" - "$ORDERLOG_SCHEMA_REGISTRY" <<'PY'
import json, sys, urllib.request
for i in range(1000):
    schema = json.dumps({"schema": json.dumps({"type": "fixed", "name": f"f{i}", "size": 1})}).encode()
    urllib.request.urlopen(urllib.request.Request(f"{sys.argv[1]}/subjects/other-{i % 7}-{i}/versions", data=schema,
                                                  headers={"Content-Type": "application/json"})).read()
PY

status=0
ORDERLOG_LOG=sqlite:///nowhere "$ORDERLOG_BIN" topics 2>"$held_by_test/err" || status=$?
[ "$status" = 2 ] && grep -q 'is not in the registry: orderlog schemas push' "$held_by_test/err" ||
    fail "without the schemas it starts: $(cat "$held_by_test/err")"
"$ORDERLOG_BIN" schemas push --ids "$held_by_test/ids" >/dev/null

litter+=("$held_by_test")
flow_start
feed_start 60 4
feed_finish 60
settle_and_verify

# From here on Glue's, by a file: what was written before is read on, without asking anybody.
service_stop up
awk '!/^#/ { printf "%s %d %08x-0000-4000-8000-00000000abcd\n", $1, $2, $2 }' "$held_by_test/ids" >"$held_by_test/uuids"
cat "$held_by_test/uuids" >>"$held_by_test/ids"
registry_url=$ORDERLOG_SCHEMA_REGISTRY
unset ORDERLOG_SCHEMA_REGISTRY
export ORDERLOG_WIRE=glue ORDERLOG_WIRE_IDS_FILE=$held_by_test/ids
up_start
feed_start 120 4
feed_finish 120
settle_and_verify
"$ORDERLOG_BIN" tail --output json --values hex --raw -o beginning -e >"$dir/records"
"$python" -B "$root/tests/support/wire_reader.py" "$registry_url" "$held_by_test/uuids" <"$dir/records"
