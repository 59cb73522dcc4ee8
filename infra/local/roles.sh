# shellcheck shell=bash
# What runs in the stack, and orderlog's own processes over Kafka. stack.sh sources it.

# stack_at and the callers set them.
log='' run='' provider=''

# Over Kafka: how many brokers, whether the deciders share a process (together) or have one each (apart), and how many
# processes there are of each decider and projector.
brokers=1 deciders=apart processes=1

# Sets `services`, in the order of their start, and `roles`, those of them that are orderlog's own over Kafka. The first of
# several processes of a kind has the kind's name.
name_services() {
    local kinds kind i sandbox=()
    services=() roles=()
    [ "$provider" = instant ] || sandbox=(provider)
    if [ "$log" = embedded ]; then
        services=(postgres redis "${sandbox[@]}" up)
        return
    fi
    for ((i = 1; i <= brokers; i++)); do
        services+=("$(kafka_name "$i")")
    done
    if [ "$deciders" = together ]; then
        kinds=(consume-all)
    else
        kinds=(consume-checkout consume-orders consume-inventory consume-payments consume-fulfilment)
    fi
    for kind in "${kinds[@]}" project-redis project-postgres; do
        roles+=("$kind")
        for ((i = 2; i <= processes; i++)); do
            roles+=("$kind-$i")
        done
    done
    roles+=(api)
    services+=(postgres redis "${sandbox[@]}" "${roles[@]}")
}

# Sets them as the stack was started.
know_services() {
    local name
    services=() roles=()
    [ ! -e "$run/services" ] || mapfile -t services <"$run/services"
    for name in "${services[@]}"; do
        case $name in
        api | consume-* | project-*) roles+=("$name") ;;
        esac
    done
}

# What the stack's parts listen at, whether they are up or on their way.
stack_ports_promise() {
    local file
    promise_ports "${ORDERLOG_LISTEN##*:}" "${ORDERLOG_PROVIDER##*:}" "${kafka_ports[*]-}"
    for file in "$run"/*.listen; do
        [ ! -e "$file" ] || promise_ports "$(sed 's/.*://' "$file")"
    done
}

# The API listens where the settings say, the others anywhere.
role_start() {
    local name=$1 kind=${1%-[0-9]*} listen port command
    case $kind in
    api) command=(api) listen=$ORDERLOG_LISTEN ;;
    *)
        stack_ports_promise
        free_port port
        command=("${kind%%-*}" "${kind#*-}") listen=127.0.0.1:$port
        ;;
    esac
    echo "$listen" >"$run/$name.listen"
    service_start "$name" "$ORDERLOG_BIN" "${command[@]}" --listen "$listen"
}

role_await() {
    service_await "$1" 60 curl -fsS -m 5 -o /dev/null "http://$(<"$run/$1.listen")/readyz"
}

roles_start() {
    local name
    for name in "${roles[@]}"; do
        role_start "$name"
    done
    roles_await
}

roles_await() {
    local name
    for name in "${roles[@]}"; do
        role_await "$name"
    done
}
