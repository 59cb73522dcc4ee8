#!/usr/bin/env bash
# The alarms: Prometheus takes them, each is raised by what it is for and described in docs/operations.md, and none asks
# for a metric that this program does not have.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

need_promtool
alerts=$root/infra/prometheus/alerts.yml tests=$root/tests/infra/alerts.test.yml
failed=''

complain() {
    say "$*"
    failed=1
}

"$promtool" check rules "$alerts" || failed=1
"$promtool" check config "$root/infra/prometheus/prometheus.yml" || failed=1
"$promtool" test rules "$tests" || failed=1

mapfile -t names < <(sed -n 's/^ *- alert: //p' "$alerts")
[ "${#names[@]}" -ge 20 ] || complain "only ${#names[@]} alarms found"
for name in "${names[@]}"; do
    grep -qE "alertname(=\"|: )$name\\b" "$tests" || complain "$name: tests/infra/alerts.test.yml does not raise it"
    grep -q "^### $name\$" "$root/docs/operations.md" || complain "$name: docs/operations.md has no section of it"
    grep -q "docs/operations.md#${name,,}\$" "$alerts" || complain "$name: its runbook is not its section"
done
while read -r name; do
    grep -qx "$name" <(printf '%s\n' "${names[@]}") || complain "$name: docs/operations.md describes it, but there is none"
done < <(sed -n '/^## Alarms/,/^## [^A]/s/^### //p' "$root/docs/operations.md")

while read -r metric; do
    grep -rqE "\"${metric%_bucket}\"" "$root"/{core,producers,projections,consumers,api} --include='*.c' ||
        complain "$metric: alerts.yml asks for it, but no such metric is kept"
done < <(grep -oE '\b(orderlog|process)_[a-z_]+' "$alerts" | sort -u)
[ -z "$failed" ]
