# shellcheck shell=bash
# The stack on one machine: where its parts live, how each starts and stops. Sourced.
#
#   DIR/env          what a shell or a test needs to talk to the stack (mode 0600)
#   DIR/data/        log.db, provider.db, PostgreSQL's and Redis's folders
#   DIR/data-kafka/  the same of a stack over Kafka, whose log is kafka/: neither kind knows of the other's orders
#   DIR/secrets/     made once, never shown
#   DIR/run/         NAME.pid: the serving process; NAME.supervisor: who restarts it; NAME.lock: held while either lives;
#                    NAME.listen: where it answers /livez, /readyz and /metrics; services: all names; log: which kind
#   DIR/logs/        NAME.log

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
. "$tools/kafka.sh"
. "$tools/roles.sh"

# Where the first broker listens; by default anywhere.
kafka_port=''
# Who is asked for money: the payment sandbox, or nobody (instant: every payment is authorised at once).
provider=sandbox
# Of PostgreSQL, besides those that it always has.
postgres_settings=()
# Options for the payment sandbox, besides those that it always has: space between.
read -ra provider_options <<<"${ORDERLOG_STACK_PROVIDER_OPTIONS:-}"

# stack_at DIR [embedded|kafka]: by default the kind that was started last. What we make is ours alone; PostgreSQL's user,
# where it is another, may pass through to its folders.
stack_at() {
    umask 077
    [ -d "$1" ] || { mkdir -p "$(dirname "$1")" && mkdir -m 0711 "$1"; } || die "cannot make $1"
    dir=$(cd "$1" && pwd -P)
    run=$dir/run logs=$dir/logs secrets=$dir/secrets
    [ -w "$dir" ] || die "cannot write to $dir as $(id -un); was it made by another user?"
    log=${2:-$(cat "$run/log" 2>/dev/null || echo embedded)}
    # A name for what cannot live in DIR itself.
    key=orderlog-$(printf '%s' "$dir" | sha256sum | cut -c1-12)
    sockets_outside=/tmp/$key
    case $log in
    embedded) data=$dir/data pg_outside=/var/lib/$key ;;
    kafka) data=$dir/data-kafka pg_outside=/var/lib/$key-kafka ;;
    esac
    pg_home=$data/postgres
}

# PostgreSQL refuses to run as root, so root runs it as the package's user. Where that user cannot reach DIR, its data are
# elsewhere while it runs. A socket's path may have 107 bytes, and a Redis URL's no question mark.
choose_places() {
    as_user=()
    [ "$(id -u)" != 0 ] || as_user=(setpriv --reuid=postgres --regid=postgres --init-groups --)
    pg_data=$pg_home pg_socket=$run/postgres redis_socket=$run/redis.sock
    if ! as_postgres test -x "$dir" 2>/dev/null; then
        pg_data=$pg_outside/data pg_socket=$pg_outside/socket
    fi
    [ "$(byte_length "$pg_socket/.s.PGSQL.5432")" -le 107 ] || pg_socket=$sockets_outside/postgres
    [ "$(byte_length "$redis_socket")" -le 107 ] && [[ $redis_socket != *\?* ]] || redis_socket=$sockets_outside/redis.sock
}

as_postgres() {
    (cd / && exec "${as_user[@]}" "$@")
}

make_folders() {
    mkdir -p "$data/redis" "$run" "$logs" "$secrets"
    chmod 0711 "$data" "$run"
    [[ $pg_socket$redis_socket != *"$sockets_outside"* ]] || make_shared_folder "$sockets_outside"
}

# In a place where others may have made one of the same name.
make_shared_folder() {
    mkdir -m 0711 "$1" 2>/dev/null || { [ -O "$1" ] && [ ! -L "$1" ]; } || die "$1 belongs to somebody else"
}

# A folder that only PostgreSQL's user may enter.
make_pg_folder() {
    mkdir -p "$1"
    [ "$(id -u)" != 0 ] || chown postgres: "$1"
}

secret() {
    [ ! -s "$secrets/$1" ] || return 0
    od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n' >"$secrets/$1.new"
    mv "$secrets/$1.new" "$secrets/$1"
}

write_env() {
    local port=$1 provider_port name
    for name in session id personal provider webhook operator; do
        secret "$name"
    done
    printf 'local:%s\n' "$(<"$secrets/operator")" >"$secrets/operators"
    provider_port=$(cat "$data/provider.port" 2>/dev/null || true)
    if [ -z "$provider_port" ] || port_taken "$provider_port"; then
        free_port provider_port
        echo "$provider_port" >"$data/provider.port"
    fi
    {
        export_line ORDERLOG_API "http://127.0.0.1:$port"
        export_line ORDERLOG_LISTEN "127.0.0.1:$port"
        export_line ORDERLOG_RUN "$run"
        if [ "$log" = embedded ]; then
            export_line ORDERLOG_LOG "sqlite://$data/log.db"
        else
            export_line ORDERLOG_LOG "kafka://$kafka_servers"
        fi
        export_line DATABASE_URL "postgresql:///orderlog?host=$(urlencode "$pg_socket")&user=orderlog"
        export_line REDIS_URL "unix://$redis_socket"
        export_line ORDERLOG_OPERATOR_TOKEN "$(<"$secrets/operator")"
        export_line ORDERLOG_OPERATOR_TOKENS_FILE "$secrets/operators"
        export_line ORDERLOG_SESSION_SECRET_FILE "$secrets/session"
        export_line ORDERLOG_ID_SECRET_FILE "$secrets/id"
        export_line ORDERLOG_PERSONAL_SECRET_FILE "$secrets/personal"
        if [ "$provider" = instant ]; then
            export_line ORDERLOG_PROVIDER instant
        else
            export_line ORDERLOG_PROVIDER "http://127.0.0.1:$provider_port"
        fi
        export_line ORDERLOG_PROVIDER_SECRET_FILE "$secrets/provider"
        export_line ORDERLOG_WEBHOOK_SECRET_FILE "$secrets/webhook"
        export_line ORDERLOG_CURRENCY USD
        export_line ORDERLOG_LOCATIONS main:0
        export_line ORDERLOG_RATE_ADDRESS 0
        export_line ORDERLOG_RATE_OPERATOR 0
    } >"$dir/env.new"
    mv "$dir/env.new" "$dir/env"
}

export_line() {
    printf "export %s='%s'\n" "$1" "${2//\'/\'\\\'\'}"
}

# --- services -------------------------------------------------------------------------------------------------------

service_runs() {
    [ -e "$run/$1.lock" ] && ! flock -n "$run/$1.lock" true
}

service_pid() {
    cat "$run/$1.pid" 2>/dev/null
}

# A supervisor's pid, if that process still is one of ours: it may have been killed, and its number be another's by now.
supervisor_pid() {
    local pid
    pid=$(cat "$run/$1.supervisor" 2>/dev/null) && grep -qzxF -- "$run" "/proc/$pid/cmdline" 2>/dev/null && echo "$pid"
}

service_start() {
    local name=$1
    shift
    (cd / && exec setsid "$tools/supervise" "$run" "$name" "$@") </dev/null >>"$logs/$name.log" 2>&1 9>&- &
}

signal_to() {
    [ -z "$2" ] || kill -s "$1" "$2" 2>/dev/null || true
}

# What a process that does not stop is at, where a debugger is there to ask it.
tell_where() {
    ! command -v gdb >/dev/null || gdb -p "$(service_pid "$1")" -batch -ex 'thread apply all bt 16' 2>&1 | grep -E '^(#|Thread)' || true
}

# service_stop NAME [SECONDS]: asks once, kills after 30 s. Where the supervisor is gone, the process itself is asked.
service_stop() {
    local name=$1 seconds=${2:-30} tenths
    for ((tenths = 0; tenths < 400; tenths++)); do
        service_runs "$name" || break
        case $tenths in
        0) signal_to TERM "$(supervisor_pid "$name" || service_pid "$name")" ;;
        "${seconds}0")
            say "$name does not stop; killing it"
            tell_where "$name" >&2
            signal_to KILL "$(service_pid "$name")"
            ;;
        esac
        sleep 0.1
    done
    ! service_runs "$name" || die "$name could not be stopped; see $logs/$name.log"
    rm -f "$run/$name.pid" "$run/$name.supervisor" "$run/$name.listen"
}

# stop_together SECONDS NAME...
stop_together() {
    local seconds=$1 name stoppers=() stopper failed=''
    shift
    for name in "$@"; do
        service_stop "$name" "$seconds" &
        stoppers+=($!)
    done
    for stopper in "${stoppers[@]}"; do
        wait "$stopper" || failed=1
    done
    [ -z "$failed" ] || die "not all could be stopped"
}

# service_await NAME SECONDS COMMAND...: until COMMAND succeeds.
service_await() {
    local name=$1 deadline=$(($(uptime_s) + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        if [ "$(uptime_s)" -ge "$deadline" ]; then
            say "--- the end of $logs/$name.log"
            tail -n 20 "$logs/$name.log" >&2
            die "$name is not ready after all this time; its log's end is above"
        fi
        sleep 0.1
    done
}

# --- PostgreSQL -----------------------------------------------------------------------------------------------------

pg_tool() {
    local bin
    bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
    echo "$bin/$1"
}

# Where PostgreSQL cannot reach DIR, its data move out for the time that it runs and home again when it has stopped. Each
# move ends in a rename, so that a folder of the final name is whole.
move_folder() {
    rm -rf "$2.moving"
    mv "$1" "$2.moving"
    mv "$2.moving" "$2"
}

pg_bring_out() {
    make_shared_folder "$pg_outside"
    [ -e "$pg_data" ] || [ ! -e "$pg_home" ] || move_folder "$pg_home" "$pg_data"
}

pg_bring_home() {
    if [ -e "$pg_outside/data" ]; then
        rm -rf "$pg_home"
        move_folder "$pg_outside/data" "$pg_home"
    fi
    rm -rf "$pg_outside"
}

# postgres_start SETTING...
postgres_start() {
    local setting settings=() socket=\"$pg_socket\"
    for setting in listen_addresses= unix_socket_directories="$socket" wal_level=minimal max_wal_senders=0 \
        shared_buffers=64MB autovacuum=on max_logical_replication_workers=0 "$@"; do
        settings+=(-c "$setting")
    done
    if [ "$pg_data" = "$pg_home" ]; then pg_bring_home; else pg_bring_out; fi
    make_pg_folder "$pg_socket"
    [ -e "$pg_data" ] || postgres_create
    service_start postgres "${as_user[@]}" "$(pg_tool postgres)" -D "$pg_data" "${settings[@]}"
    postgres_await
}

postgres_await() {
    service_await postgres 60 pg_isready -q -h "$pg_socket" -U postgres -d postgres
}

# Beside its final place first, so that a cluster that is there is whole.
postgres_create() {
    rm -rf "$pg_data.new"
    make_pg_folder "$pg_data.new"
    as_postgres "$(pg_tool initdb)" -D "$pg_data.new" -U postgres -A trust --encoding=UTF8 --locale=C.UTF-8 \
        >"$logs/initdb.log" 2>&1 || {
        cat "$logs/initdb.log" >&2
        die "initdb failed"
    }
    mv "$pg_data.new" "$pg_data"
}

# The role owns its database and may make the analysts' role; it is no superuser.
database_create() {
    psql -XAtq -v ON_ERROR_STOP=1 -h "$pg_socket" -U postgres -d postgres <<'SQL' >/dev/null
SELECT 'CREATE ROLE orderlog LOGIN CREATEROLE' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'orderlog') \gexec
SELECT 'CREATE DATABASE orderlog OWNER orderlog'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'orderlog') \gexec
SQL
}

# --- the others -----------------------------------------------------------------------------------------------------

# Redis keeps nothing on disk: its views carry their position, and are folded from the log again.
redis_start() {
    service_start redis redis-server --port 0 --unixsocket "$redis_socket" --unixsocketperm 700 --dir "$data/redis" \
        --save '' --appendonly no --maxmemory-policy noeviction --daemonize no
    redis_await
}

redis_await() {
    service_await redis 30 redis-cli -s "$redis_socket" ping
}

provider_start() {
    local address=${ORDERLOG_PROVIDER#http://}
    # What a caller wants of it besides: faults, say.
    service_start provider "$ORDERLOG_BIN" provider --listen "$address" --db "$data/provider.db" \
        --webhooks "$ORDERLOG_API/v1/webhooks/payments/stripe" "${provider_options[@]}"
    service_await provider 30 port_taken "${address##*:}"
}

up_start() {
    service_start up "$ORDERLOG_BIN" up
    up_await
}

up_await() {
    service_await up 60 curl -fsS -m 5 -o /dev/null "$ORDERLOG_API/readyz"
}

# --- all of it ------------------------------------------------------------------------------------------------------

stack_runs() {
    local lock
    for lock in "$run"/*.lock; do
        [ ! -e "$lock" ] || flock -n "$lock" true || return 0
    done
    return 1
}

# stores_start PORT: the log's brokers, PostgreSQL, Redis; the settings are in DIR/env, and ours.
stores_start() {
    choose_places
    make_folders
    name_services
    say "Starting ${services[*]} in $dir"
    echo "$log" >"$run/log"
    printf '%s\n' "${services[@]}" >"$run/services"
    if [ "$log" = kafka ]; then
        "$tools/kafka/get" || die "there is no Kafka without that"
        kafka_prepare "$brokers" "$kafka_port"
    fi
    write_env "$1"
    # shellcheck source=/dev/null
    . "$dir/env"
    [ "$log" = embedded ] || kafka_launch
    postgres_start fsync=on synchronous_commit=on max_connections=$((60 + 20 * ${#roles[@]})) "${postgres_settings[@]}"
    database_create
    redis_start
    [ "$log" = embedded ] || kafka_await
}

orderlog_start() {
    if [ "$log" = embedded ]; then
        up_start
        return
    fi
    "$ORDERLOG_BIN" topics apply >>"$logs/topics.log" 2>&1 || {
        cat "$logs/topics.log" >&2
        die "the topics could not be made"
    }
    roles_start
}

# stack_start PORT
stack_start() {
    stores_start "$1"
    [ "$provider" = instant ] || provider_start
    orderlog_start
}

# Leaves nothing outside DIR.
stack_stop() {
    local servers=() name
    know_services
    for name in "${services[@]}"; do
        [[ $name != kafka* ]] || servers+=("$name")
    done
    stop_together 30 "${roles[@]}"
    for name in up provider redis postgres; do
        service_stop "$name"
    done
    # Brokers that are left alone cannot go on as a cluster, and need not end as one.
    stop_together 10 "${servers[@]}"
    pg_bring_home
    rm -rf "$sockets_outside"
}
