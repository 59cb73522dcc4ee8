#!/usr/bin/env bash
# ctest: TIMEOUT=300 RUN_SERIAL=ON
# Traces: what becomes of an order is told to an OpenTelemetry collector as one trace, that of the request that began it; and
# a collector that refuses, or is away, is nothing to the shop.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

python=$root/var/venv/bin/python port='' mail_port='' collector=''
"$python" -c 'import opentelemetry.proto.trace.v1.trace_pb2, aiosmtpd' 2>/dev/null || {
    say "opentelemetry-proto or aiosmtpd is missing (tests/run makes var/venv)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

# collector_start OPTION…
collector_start() {
    "$python" -B "$root/tests/support/otlp_collector.py" "$port" "$TRACES" "$@" >>"$logs/collector.log" 2>&1 &
    collector=$!
    guests+=("$collector")
    service_await collector 60 port_taken "$port"
}

traced() {
    "$python" -B "$root/tests/support/traced_orders.py" "$@" || fail "traces: $*"
}

# metric NAME: all its series together.
metric() {
    curl -fsS -m 60 "$ORDERLOG_API/metrics" | awk -v name="$1" 'index($1, name) == 1 { sum += $2 } END { print sum + 0 }'
}

# The provider's webhooks are traces of their own, which an order might go on in: here none comes.
export ORDERLOG_STACK_PROVIDER_OPTIONS='--fault late-webhooks=1 --after 3600'
free_port port
free_port mail_port
export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:$port/ OTEL_EXPORTER_OTLP_COMPRESSION=gzip
export OTEL_EXPORTER_OTLP_HEADERS='x-key=a%20secret%2C%20%3D%20key' OTEL_BSP_SCHEDULE_DELAY=100
export OTEL_SERVICE_NAME=the-shop OTEL_RESOURCE_ATTRIBUTES='deployment.environment.name=test%2C%20too,service.name=x'
export ORDERLOG_MAIL=smtp+plain://127.0.0.1:$mail_port ORDERLOG_MAIL_FROM=orders@shop.example
flow_start
"$python" -B "$root/tests/lambda/smtp_sink.py" "$dir/mails" "$mail_port" >"$logs/sink.log" 2>&1 &
sink=$!
guests+=("$sink")
export TRACES=$dir/traces

# What is refused for a time is told all the same.
collector_start --fail 2
traced sell first unsampled
traced await first
[ "$(metric orderlog_trace_export_failures_total)" -ge 2 ] || fail "the collector's refusals were not counted"
[ "$(metric orderlog_trace_spans_dropped_total)" = 0 ] || fail "spans were dropped"

# Nobody takes them: orders are completed as ever, and what comes later is told again.
away_from=$(date +%s%N)
kill "$collector"
wait "$collector" || true
guests=("$sink")
traced sell away
collector_start
TRACES_AWAY="$away_from $(date +%s%N)"
export TRACES_AWAY
traced sell last
traced await last
"$ORDERLOG_BIN" verify --wait 60 --provider "$ORDERLOG_PROVIDER" >"$dir/verify" || fail "verify: $(cat "$dir/verify")"

# What still waits is told at the end.
service_stop up
traced check first unsampled last
up_start
