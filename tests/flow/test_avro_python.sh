#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# The log's bytes are plain Avro: a reader that shares no code with ours reads the same out of every record.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

python=$root/var/venv/bin/python
"$python" -c 'import fastavro' || {
    say "fastavro is missing (tests/run makes var/venv)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

flow_start
feed_start 150 8
feed_finish 150
settle_and_verify
"$ORDERLOG_BIN" tail --output json --values hex --raw -o beginning -e >"$dir/records"
"$python" -B "$root/tests/support/avro_reader.py" "$root/schemas" <"$dir/records"
