# shellcheck shell=bash
# An Apache Kafka cluster of one or three brokers, which are their own controllers (KRaft). stack.sh sources it.
#
#   var/kafka/          the jars, and an archive of their classes (infra/local/kafka/get)
#   DIR/data/kafka/     ports, cluster: made once; N.properties; N/: what broker N keeps
#   DIR/run/            kafka.pid, or kafka-1.pid to kafka-3.pid

. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
# stack_at sets them.
data='' logs=''

kafka_home=$root/var/kafka
kafka_libs=$kafka_home/libs-$(sha256sum <"$tools/kafka/SHA256SUMS" | cut -c1-12)
kafka_classes=$kafka_home/classes-$({
    echo "$kafka_libs"
    stat -Lc '%n %s %Y' "$(command -v java)" || true
} 2>&1 | sha256sum | cut -c1-12).jsa

kafka_java_is_new_enough() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 17 ]
}

# kafka_java CLASS: sets `java`, a command line that runs it, quickly started. Further options of Java's: as
# ORDERLOG_KAFKA_JAVA_OPTIONS has them (they come last, so that they count).
kafka_java() {
    local jars more
    jars=$(printf ':%s' "$kafka_libs"/*.jar)
    read -ra more <<<"${ORDERLOG_KAFKA_JAVA_OPTIONS:-}"
    java=(java -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xlog:disable -Xlog:all=error:stderr -Xshare:auto)
    [ ! -e "$kafka_classes" ] || java+=(-XX:SharedArchiveFile="$kafka_classes")
    java+=("-Dlog4j2.configurationFile=$tools/kafka/log4j2.properties" "${more[@]}" -cp "${jars:1}" "$1")
}

# kafka_command N: broker N's command line, a word a line.
kafka_command() {
    local java
    ORDERLOG_KAFKA_JAVA_OPTIONS="-Xmx${ORDERLOG_KAFKA_HEAP:-320m} ${ORDERLOG_KAFKA_JAVA_OPTIONS:-}" kafka_java kafka.Kafka
    printf '%s\n' "${java[@]}" "$data/kafka/$1.properties"
}

# Sets brokers (how many), kafka_servers (HOST:PORT,…) and kafka_ports (a broker's and its controller's, by turns), as
# kafka_prepare wrote them.
kafka_know() {
    local i
    read -ra kafka_ports <"$data/kafka/ports"
    brokers=$((${#kafka_ports[@]} / 2)) kafka_servers='' kafka_controllers=''
    for ((i = 0; i < brokers; i++)); do
        kafka_servers+=,127.0.0.1:${kafka_ports[2 * i]}
        kafka_controllers+=,$((i + 1))@127.0.0.1:${kafka_ports[2 * i + 1]}
    done
    kafka_servers=${kafka_servers:1} kafka_controllers=${kafka_controllers:1}
}

# kafka_choose_ports COUNT FIRST [EARLIER...]
kafka_choose_ports() {
    local count=$1 ports=(${2:+"$2"}) port
    [ -z "$2" ] || ! port_taken "$2" || die "port $2 is taken"
    shift 2
    [ "${#ports[@]}" = 0 ] || shift "$(($# > 0))"
    while [ "${#ports[@]}" -lt "$count" ]; do
        if [ $# -gt 0 ]; then
            port=$1
            shift
        else
            free_port port
        fi
        [[ " ${ports[*]} " == *" $port "* ]] || port_taken "$port" || ports+=("$port")
    done
    echo "${ports[*]}" >"$data/kafka/ports"
}

# kafka_prepare BROKERS [PORT]: settings and formatted folders, while no broker runs. A cluster that is there keeps its
# number of brokers, and its ports, if nobody else has them.
kafka_prepare() {
    local n cluster
    mkdir -p "$data/kafka"
    if [ ! -s "$data/kafka/cluster" ]; then
        kafka_choose_ports $((2 * $1)) "${2:-}"
        head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=' >"$data/kafka/cluster"
    fi
    kafka_know
    [ "$brokers" = "$1" ] || die "the cluster in $data/kafka has $brokers broker(s), not $1"
    kafka_choose_ports $((2 * $1)) "${2:-}" "${kafka_ports[@]}"
    kafka_know
    cluster=$(<"$data/kafka/cluster")
    for ((n = 1; n <= brokers; n++)); do
        kafka_settings "$n" >"$data/kafka/$n.properties"
        [ -e "$data/kafka/$n/meta.properties" ] || kafka_format "$n" "$cluster"
    done
}

kafka_format() {
    local java
    rm -rf "${data:?}/kafka/$1"
    kafka_java kafka.tools.StorageTool
    "${java[@]}" format -t "$2" -c "$data/kafka/$1.properties" >"$logs/kafka-format.log" 2>&1 || {
        cat "$logs/kafka-format.log" >&2
        die "Kafka's folder could not be made"
    }
}

# Three brokers are set as a cluster is that must not lose what it acknowledged: each record is on two before that. Sessions
# are shorter than Kafka's own 9 s, so that a broker's partitions are led by others sooner, and it is back sooner.
kafka_settings() {
    local n=$1 replicas=$brokers in_sync=1
    [ "$brokers" = 1 ] || in_sync=2
    cat <<END
process.roles=broker,controller
node.id=$n
controller.quorum.voters=$kafka_controllers
listeners=BROKER://127.0.0.1:${kafka_ports[2 * n - 2]},CONTROLLER://127.0.0.1:${kafka_ports[2 * n - 1]}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=BROKER
log.dirs=$data/kafka/$n
auto.create.topics.enable=false
default.replication.factor=$replicas
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$replicas
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=$replicas
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$replicas
share.coordinator.state.topic.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=5000
broker.heartbeat.interval.ms=1000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.index.size.max.bytes=2097152
END
}

# A broker answers, and knows all others.
kafka_answers() {
    local server
    for server in ${kafka_servers//,/ }; do
        ! python3 -B "$tools/kafka/ready.py" "$server" "$brokers" || return 0
    done
    return 1
}

kafka_name() {
    if [ "$brokers" = 1 ]; then echo kafka; else echo "kafka-$1"; fi
}

kafka_launch() {
    local n command
    for ((n = 1; n <= brokers; n++)); do
        mapfile -t command < <(kafka_command "$n")
        service_start "$(kafka_name "$n")" "${command[@]}"
    done
    kafka_await
}

# One that is up may still have to hear of the others.
kafka_await() {
    service_await "$(kafka_name 1)" 90 kafka_answers
}
