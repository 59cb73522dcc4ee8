#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# Redis, killed hard under a feed: it comes back empty, and its views are folded again.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

crash_under_feed redis
# A cart read while Redis is being filled must not show another total than checkout sees.
[ "$(reported rejected:price-changed)" = 0 ] || fail "carts were shown with a wrong total"
