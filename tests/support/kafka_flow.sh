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

# However fast the machine is, something is under way after this: a feed that is over goes on with further baskets.
fed=0
feed_on() {
    if [ -n "$feeder" ]; then
        ! feed_runs && [ "$fed" -lt "$baskets" ] || return 0
        feed_finish "$fed"
    fi
    feed_start $((fed += 40)) 4
}

# Until the views know so many orders more.
await_more() {
    local known
    known=$(view 'SELECT count(*) FROM view.orders')
    until [ "$(view 'SELECT count(*) FROM view.orders')" -ge $((known + $1)) ]; do
        feed_on
        sleep 0.05
    done
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
    curl -s -m 5 "http://$(<"$run/$1.listen")/readyz?verbose" | grep -cE "^(ok|warning) +(decider|view) $2/[0-9]+" || true
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

# --- several processes of each decider and projector --------------------------------------------------------------------

# One process of each kind, as roles name it, and what its shards are called by /readyz?verbose.
partitions=4 # of each topic, as topics apply makes them
kinds=(consume-checkout:checkout consume-orders:orders consume-inventory:inventory consume-payments:payments
    consume-fulfilment:fulfilment project-redis:redis-view-orders project-postgres:postgres-view-orders)

has_shards() {
    [ "$(shards_of "$1" "$2")" -ge "$3" ]
}

# Two processes of a kind have all of its shards, and each has some.
is_shared() {
    local one other
    one=$(shards_of "$1" "$2") other=$(shards_of "$1-2" "$2")
    [ "$one" -ge 1 ] && [ "$other" -ge 1 ] && [ $((one + other)) = "$partitions" ]
}

all_shared() {
    local kind
    for kind in "${kinds[@]}"; do
        until_within 120 "sharing of $kind" is_shared "${kind%:*}" "${kind#*:}"
    done
}

# one_has_all PROCESS KIND
one_has_all() {
    until_within 120 "$1 taking over all of ${2#*:}" has_shards "$1" "${2#*:}" "$partitions"
}

# --- brokers ------------------------------------------------------------------------------------------------------------

# Of orderlog's own processes.
remember_pids() {
    local name
    declare -gA pids
    for name in "${roles[@]}"; do
        pids[$name]=$(service_pid "$name")
    done
}

none_was_started_again() {
    local name
    for name in "${roles[@]}"; do
        [ "$(service_pid "$name")" = "${pids[$name]}" ] || fail "$name was started again"
    done
}

# Partitions that not all of their brokers have whole; nothing when the brokers do not say.
under_replicated() {
    kafka_tool org.apache.kafka.tools.TopicCommand --bootstrap-server "$kafka_servers" --describe \
        --under-replicated-partitions 2>/dev/null
}

broker_is_missed() {
    under_replicated | grep -q .
}

all_in_sync() {
    local out
    out=$(under_replicated) && [ -z "$out" ]
}
