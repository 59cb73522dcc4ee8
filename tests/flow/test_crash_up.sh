#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# orderlog up, killed hard under a feed.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

crash_under_feed up
