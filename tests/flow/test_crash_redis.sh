#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# Redis, killed hard under a feed: it comes back empty, and its views are folded again.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

crash_under_feed redis
