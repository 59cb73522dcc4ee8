#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# PostgreSQL, killed hard under a feed: what was committed is there, what was not is done again.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

crash_under_feed postgres
