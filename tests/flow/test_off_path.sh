#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# Every way off an order's happy path, end to end, with a payment provider that goes wrong where it is told to, a payment
# deadline of 20 s, and authorisations that come late, or expire, after 28 s.
set -euo pipefail
export ORDERLOG_PAYMENT_DEADLINE_SECONDS=20 ORDERLOG_PROVIDER_TIMEOUT_MS=1500
export ORDERLOG_STACK_PROVIDER_OPTIONS='--after 28'
. "$(dirname "$0")/../support/flow.sh"

flow_start
python3 -B "$root/tests/support/off_path.py" || fail "an order did not end as it should"
"$ORDERLOG_BIN" verify --wait 60 --provider "$ORDERLOG_PROVIDER" --output json >"$dir/verify.json" || {
    cat "$dir/verify.json"
    fail "verify ended with status $?"
}

# And it would have told: one cent more at the provider, or a payment that the log never asked for.
tampered() {
    python3 - "$dir/data/provider.db" "$1" <<'PY'
import json, sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=30)
seq, text = database.execute("SELECT seq, json FROM intents ORDER BY seq LIMIT 1").fetchone()
intent = json.loads(text)
intent["amount_received"] += int(sys.argv[2] == "a cent")
if sys.argv[2] == "another":
    intent["id"], intent["metadata"]["payment_id"] = "pi_stray", "unheard of"
    database.execute("INSERT INTO intents (id, json) VALUES (?, ?)", (intent["id"], json.dumps(intent)))
else:
    database.execute("UPDATE intents SET json = ? WHERE seq = ?", (json.dumps(intent), seq))
database.commit()
PY
    ! "$ORDERLOG_BIN" verify --only provider-equals-log --provider "$ORDERLOG_PROVIDER" --output json >"$dir/verify.json" ||
        fail "verify does not see $1"
    grep -q "$2" "$dir/verify.json" || {
        cat "$dir/verify.json"
        fail "verify does not tell of $1"
    }
}
tampered 'a cent' 'by the log .* is held and .* taken, by the provider'
tampered 'another' 'pi_stray, which the log never asked for'
