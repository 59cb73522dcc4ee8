#!/usr/bin/env bash
# ctest: TIMEOUT=400 RUN_SERIAL=ON
# Redis, killed hard in the middle of a feed and away for a while (REDIS_AWAY_SECONDS): reads go on from PostgreSQL, and
# from Redis when it is back, without a restart; then the views are equal.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

seconds=${REDIS_AWAY_SECONDS:-20} baskets=350

mgets() {
    redis-cli -s "$redis_socket" INFO commandstats | sed -n 's/^cmdstat_mget:calls=\([0-9]*\),.*/\1/p'
}

flow_start
feed_start "$baskets" 4
await_orders 60
away_start reads
up_pid=$(service_pid up)

kill_and_hold redis
before=$(view 'SELECT count(*) FROM view.orders')
sleep "$seconds"
after=$(view 'SELECT count(*) FROM view.orders')
[ "$after" -gt "$before" ] || ! feed_runs || fail "no order went on while Redis was away"
say "while Redis was away for $seconds s the views came to know $((after - before)) orders"
service_back redis
redis_await # four views in four shards
deadline=$(($(uptime_s) + 120))
until [ "$(redis-cli -s "$redis_socket" --scan --pattern '*:whole:view-*' | wc -l)" = 16 ]; do
    [ "$(uptime_s)" -lt "$deadline" ] || fail "Redis is not whole again"
    sleep 0.2
done
# The shopper's reads are Redis' again.
first=$(mgets)
until [ "$(mgets)" -gt $((first + 20)) ]; do
    [ "$(uptime_s)" -lt "$deadline" ] || fail "nothing is read from Redis"
    sleep 0.2
done
away_finish
feed_finish "$baskets"
[ "$(service_pid up)" = "$up_pid" ] || fail "up was started again"
# A cart read from a store that is behind must not show another total than checkout sees.
[ "$(reported rejected:price-changed)" = 0 ] || fail "carts were shown with a wrong total"
settle_and_verify
