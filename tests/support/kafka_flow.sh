# shellcheck shell=bash
# For tests on a whole stack over Kafka. Sourced.
. "$(dirname "${BASH_SOURCE[0]}")/flow.sh"

# What the stack's processes take for a member of a group that is gone: shorter than by default, so that tests are.
export ORDERLOG_KAFKA_SESSION_TIMEOUT_MS=${ORDERLOG_KAFKA_SESSION_TIMEOUT_MS:-3000}

# kafka_flow_start BASKETS [OPTION...]: a stack over Kafka (options of infra/local/up), and a feed of the first so many
# baskets that has begun.
kafka_flow_start() {
    local got=0
    "$tools/kafka/get" || got=$?
    [ "$got" = 0 ] || {
        say "Kafka cannot be had, so this test cannot be"
        [ -n "${CI:-}" ] && exit 1 || exit 77
    }
    baskets=$1
    shift
    up_options=(--kafka "$@")
    flow_start
    baskets_file=$dir/baskets.csv
    first_baskets "$baskets" "$baskets_file"
}

# A tool of Kafka's own: kafka_tool CLASS ARGUMENT...
kafka_tool() {
    local java class=$1
    shift
    kafka_java "$class"
    "${java[@]}" "$@"
}

# The shards of a decider that a process runs, as its /readyz?verbose has them: shards_of PROCESS SERVICE
shards_of() {
    curl -fsS -m 5 "http://$(<"$run/$1.listen")/readyz?verbose" | grep -cE "^(ok|warning) +(decider|view) $2/[0-9]+" || true
}

# until_within SECONDS WHAT COMMAND...
until_within() {
    local deadline=$(($(uptime_s) + $1)) what=$2
    shift 2
    until "$@"; do
        [ "$(uptime_s)" -lt "$deadline" ] || fail "$what: not in time"
        sleep 0.1
    done
}
