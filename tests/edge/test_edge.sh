#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# The shop behind the edge (infra/edge), as the world reaches it: TLS, HTTP/2, the cache, the firewall's rules, limits by address,
# streams that do not wait in a buffer; and an order from the product page to its delivery, in a real browser.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

missing=''
[ -e /usr/lib/nginx/modules/ngx_http_modsecurity_module.so ] || missing+=' libnginx-mod-http-modsecurity'
[ -d /usr/share/modsecurity-crs/rules ] || missing+=' modsecurity-crs'
command -v chromium-headless-shell >/dev/null || missing+=' chromium-headless-shell'
[ -z "$missing" ] || {
    say "missing:$missing (tests/run installs them)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

flow_start
first_baskets 20 "$dir/baskets.csv"
baskets_file=$dir/baskets.csv
feed_start 20 4 # it offers and stocks what its baskets hold
feed_finish 20
# The list of products comes of a view that may be behind: the first of it is to stay the first.
"$ORDERLOG_BIN" verify --wait 60 --provider "$ORDERLOG_PROVIDER" --output json >/dev/null || fail "verify ended with status $?"
free_port port
"$root/infra/edge/run" --api "${ORDERLOG_API#http://}" --listen "127.0.0.1:$port" --dir "$dir/edge" >"$logs/edge.log" 2>&1 &
edge=$!
guests+=("$edge")
deadline=$(($(uptime_s) + 60))
until curl -sf --cacert "$dir/edge/certificate.pem" -o /dev/null "https://localhost:$port/shop.css" 2>/dev/null; do
    kill -0 "$edge" 2>/dev/null && [ "$(uptime_s)" -lt "$deadline" ] || fail "the edge does not start"
    sleep 0.1
done
python3 -B "$root/tests/edge/shopper.py" "$port" "$dir/edge" || fail "the edge is not as it must be"
"$ORDERLOG_BIN" verify --wait 60 --provider "$ORDERLOG_PROVIDER" --output json || fail "verify ended with status $?"
