#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# As test_repair.sh, of a shop that switched its notifier on after the backup.
ORDERLOG_TEST_TOLD_SINCE=backup exec "$(dirname "$0")/test_repair.sh"
