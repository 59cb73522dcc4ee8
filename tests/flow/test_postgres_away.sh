#!/usr/bin/env bash
# ctest: TIMEOUT=400 RUN_SERIAL=ON
# PostgreSQL, killed hard in the middle of a feed and away for a while (POSTGRES_AWAY_SECONDS): writes are taken until the
# oldest of them has waited too long to be decided, then refused; when it is back, all is decided, and writes are taken
# again, without a restart.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

seconds=${POSTGRES_AWAY_SECONDS:-20} baskets=300
export ORDERLOG_SHED_LAG_SECONDS=${ORDERLOG_SHED_LAG_SECONDS:-5}

shedding() {
    local metrics
    metrics=$(curl -fsS "$ORDERLOG_API/metrics") && grep -qx "orderlog_http_shedding $1" <<<"$metrics"
}

flow_start
feed_start "$baskets" 4
await_orders 60
away_start writes
up_pid=$(service_pid up)

touch "$dir/away/away"
kill_and_hold postgres
sleep "$seconds"
shedding 1 || fail "writes are not refused, though PostgreSQL has been away for $seconds s"
touch "$dir/away/back"
service_back postgres
postgres_await
deadline=$(($(uptime_s) + 120))
until shedding 0; do
    [ "$(uptime_s)" -lt "$deadline" ] || fail "writes are still refused"
    sleep 0.2
done
sleep 1 # so that the shopper has written once more
away_finish
feed_finish "$baskets"
[ "$(service_pid up)" = "$up_pid" ] || fail "up was started again"
settle_and_verify
