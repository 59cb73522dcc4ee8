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
