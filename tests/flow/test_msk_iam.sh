#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# The shop over a Kafka broker as Amazon MSK is one: TLS, and tokens signed by AWS credentials that end after seconds. The
# broker's own handler (tests/support/msk) computes each signature anew. What it must refuse is refused, and said clearly.
set -euo pipefail
# Nobody dies here, and a broker that hangs up to see a new token is not to be taken for that.
export ORDERLOG_KAFKA_SESSION_TIMEOUT_MS=30000
. "$(dirname "$0")/../support/kafka_flow.sh"

life_s=30 reauthenticate_ms=12000
cannot() {
    say "this test cannot be: $*"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}
"$tools/kafka/get" || cannot "there is no Kafka"
command -v javac >/dev/null || cannot "there is no javac"
command -v openssl >/dev/null || cannot "there is no openssl"

# ---- the broker: one listener more than the stack's, which its clients use ----

eval "plain_$(declare -f kafka_settings)"
kafka_settings() {
    plain_kafka_settings "$1"
    cat <<END
listeners=BROKER://127.0.0.1:${kafka_ports[0]},CONTROLLER://127.0.0.1:${kafka_ports[1]},CLIENT://127.0.0.1:$client_port
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:SASL_SSL
listener.name.client.ssl.keystore.type=PEM
listener.name.client.ssl.keystore.location=$msk/broker.pem
listener.name.client.sasl.enabled.mechanisms=OAUTHBEARER,SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.client.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.client.oauthbearer.sasl.server.callback.handler.class=MskIamValidator
listener.name.client.oauthbearer.connections.max.reauth.ms=$reauthenticate_ms
END
}

eval "plain_$(declare -f kafka_java)"
kafka_java() {
    local i
    plain_kafka_java "$1"
    for i in "${!java[@]}"; do
        [ "${java[i]}" != -cp ] || java[i + 1]+=:$msk/classes
    done
    java=("${java[0]}" "-Dmsk.folder=$msk" "${java[@]:1}")
}

# make_authority NAME: NAME.pem, and its key.
make_authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" -keyout "$msk/$1.key" -out "$msk/$1.pem"
}

make_certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=broker -keyout "$msk/broker.key" -out "$msk/broker.csr"
    openssl x509 -req -in "$msk/broker.csr" -CA "$msk/ca.pem" -CAkey "$msk/ca.key" -days 2 -extfile <(echo subjectAltName=IP:127.0.0.1) \
        -out "$msk/broker.crt"
    cat "$msk/broker.key" "$msk/broker.crt" "$msk/ca.pem" >"$msk/broker.pem"
}

# ---- the stack ----

eval "plain_$(declare -f write_env)"
write_env() {
    plain_write_env "$1"
    {
        export_line ORDERLOG_LOG "kafka://127.0.0.1:$client_port"
        export_line ORDERLOG_KAFKA_AUTH msk-iam
        export_line ORDERLOG_KAFKA_SSL_CA_LOCATION "$msk/ca.pem"
        export_line AWS_REGION eu-central-1
        export_line AWS_EC2_METADATA_DISABLED true
        export_line AWS_CONTAINER_CREDENTIALS_FULL_URI "$aws/v1/credentials/shop"
    } >>"$dir/env"
}

logins() {
    grep -c "$1" "$msk/logins" || true
}

# How many of a kind of keys were accepted.
keys_of() {
    sed -n "s/^\($1[0-9]*\) accepted$/\1/p" "$msk/logins" | sort -u | wc -l
}

knows_keys() {
    [ "$(keys_of "$1")" -ge "$2" ]
}

has_login() {
    [ "$(logins "$1")" -ge 1 ]
}

tailed_more_than() {
    [ "$(wc -l <"$dir/tailed")" -gt "$1" ]
}

# refused WHAT TEXT COMMAND...: it ends with 2, and standard error has the text.
refused() {
    local what=$1 text=$2 status=0
    shift 2
    timeout 60 "$@" >"$dir/out" 2>"$dir/err" || status=$?
    [ "$status" = 2 ] || fail "$what: status $status, not 2: $(tail -n 2 "$dir/err")"
    grep -q "^orderlog.*$text" "$dir/err" || fail "$what: no '$text' in: $(cat "$dir/err")"
    say "$what: $(grep "^orderlog" "$dir/err")"
}

by_keys=(env -u AWS_CONTAINER_CREDENTIALS_FULL_URI)

stack_at "$(mktemp -d "$root/var/test-flow.XXXXXX")" kafka
chmod 0711 "$dir"
trap flow_end EXIT
trap 'exit 143' INT TERM HUP
msk=$dir/msk client_port='' api_port=''
free_port client_port
free_port api_port
mkdir -p "$msk/classes" "$run" "$logs"
javac -cp "$kafka_libs/*" -d "$msk/classes" "$root/tests/support/msk/MskIamValidator.java"
{
    make_authority ca
    make_authority other
    make_certificate
} 2>"$logs/openssl.log"
chmod -R a+rX "$msk"
python3 -B "$root/tests/support/aws_stand_in.py" "$life_s" >"$msk/aws" &
guests+=($!)
until [ -s "$msk/aws" ]; do sleep 0.05; done
aws=$(<"$msk/aws")
for ((i = 1; i <= 3000; i++)); do
    printf 'ASIASHOP%d secret/%d+= token/%d==\nASIATAIL%d secret/%d+= token/%d==\n' "$i" "$i" "$i" "$i" "$i" "$i"
done >"$msk/keys"
echo "AKIAKNOWN wJalrXUtnFEMI/K7MDENG" >>"$msk/keys"
stack_start "$api_port"
know_services

# ---- the shop works, and its connections outlive its tokens ----

AWS_CONTAINER_CREDENTIALS_FULL_URI=$aws/v1/credentials/tail "$ORDERLOG_BIN" tail -t shop.order.events.v1 --output json >"$dir/tailed" 2>"$logs/tail.log" &
guests+=($!)
first_baskets 60 "$dir/baskets.csv"
baskets_file=$dir/baskets.csv
feed_start 40 4
feed_finish 40
until_within 120 "a client's second token" knows_keys ASIATAIL 2
before=$(wc -l <"$dir/tailed")
[ "$before" -gt 0 ] || fail "nothing was tailed"
[ "$(logins refused)" = 0 ] || fail "a login was refused: $(grep -m 1 refused "$msk/logins")"

# ---- what is refused ----

refused "another authority" 'certificate verify failed' env ORDERLOG_KAFKA_SSL_CA_LOCATION="$msk/other.pem" "$ORDERLOG_BIN" topics
refused "no authority" 'certificate verify failed' env -u ORDERLOG_KAFKA_SSL_CA_LOCATION "$ORDERLOG_BIN" topics
refused "an unknown key" 'invalid_token' "${by_keys[@]}" AWS_ACCESS_KEY_ID=AKIAUNKNOWN AWS_SECRET_ACCESS_KEY=x "$ORDERLOG_BIN" topics
[ "$(logins '^AKIAUNKNOWN refused: the key is not known')" -ge 1 ] || fail "the broker did not say so"
refused "another's secret" 'invalid_token' "${by_keys[@]}" AWS_ACCESS_KEY_ID=AKIAKNOWN AWS_SECRET_ACCESS_KEY=x "$ORDERLOG_BIN" topics
[ "$(logins '^AKIAKNOWN refused: the signature does not match')" -ge 1 ] || fail "the broker did not say so"
refused "no credentials" 'no AWS credentials: environment: AWS_ACCESS_KEY_ID is not set; web identity' \
    "${by_keys[@]}" HOME=/nowhere "$ORDERLOG_BIN" topics
refused "no region" 'needs the cluster.s region in AWS_REGION' env -u AWS_REGION HOME=/nowhere "$ORDERLOG_BIN" topics
refused "without TLS" 'needs ORDERLOG_KAFKA_SECURITY_PROTOCOL=SASL_SSL' env ORDERLOG_KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT "$ORDERLOG_BIN" topics
refused "another way" 'must be msk-iam' env ORDERLOG_KAFKA_AUTH=magic "$ORDERLOG_BIN" topics
"${by_keys[@]}" AWS_ACCESS_KEY_ID=AKIAKNOWN AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG "$ORDERLOG_BIN" topics >/dev/null || fail "the right secret is refused"

# ---- every token has ended for the broker, whose clock runs ahead; then it is right again ----

echo 1000 >"$msk/ahead"
refused "an expired token" 'invalid_token' "${by_keys[@]}" AWS_ACCESS_KEY_ID=AKIAKNOWN AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG "$ORDERLOG_BIN" topics
[ "$(logins '^AKIAKNOWN refused: expired at')" -ge 1 ] || fail "the broker did not say so"
until_within 60 "the shop's clients are refused, too" has_login '^ASIASHOP.*refused: expired at'
counted() {
    local listen
    for listen in "$run"/consume-*.listen; do
        curl -fsS -m 5 "http://$(<"$listen")/metrics" || true
    done | awk '/^orderlog_kafka_errors_total\{kind="authentication"\}/ { n += $2 } END { exit !(n > 0) }'
}
until_within 60 "a refusal in the deciders' metrics" counted
rm "$msk/ahead"
roles_await
feed_start 60 4
feed_finish 60
until_within 60 "what came later is tailed" tailed_more_than "$before"
settle_and_verify

# ---- SCRAM: by a librdkafka that can; a clear word by one that cannot ----

scram=(env -u ORDERLOG_KAFKA_AUTH ORDERLOG_KAFKA_SECURITY_PROTOCOL=SASL_SSL ORDERLOG_KAFKA_SASL_MECHANISM=SCRAM-SHA-512 ORDERLOG_KAFKA_SASL_USERNAME=shop)
kafka_tool kafka.admin.ConfigCommand --bootstrap-server "$kafka_servers" --alter --add-config 'SCRAM-SHA-512=[password=correct horse]' \
    --entity-type users --entity-name shop >"$logs/scram.log" 2>&1 || fail "$(cat "$logs/scram.log")"
scram_works() {
    "${scram[@]}" ORDERLOG_KAFKA_SASL_PASSWORD='correct horse' "$@" "$ORDERLOG_BIN" topics --output json >"$dir/out" 2>"$dir/err" ||
        fail "SCRAM by $*: $(cat "$dir/err")"
    grep -q shop.order.events.v1 "$dir/out" || fail "SCRAM by $*: no topics"
    refused "a wrong password by $*" 'uthentication' "${scram[@]}" ORDERLOG_KAFKA_SASL_PASSWORD=wrong "$@" "$ORDERLOG_BIN" topics
}
if dpkg --compare-versions "$(pkg-config --modversion rdkafka)" ge 2.6.1; then
    scram_works env
else
    refused "SCRAM by an old librdkafka" 'needs 2.6.1 or newer' "${scram[@]}" ORDERLOG_KAFKA_SASL_PASSWORD=x "$ORDERLOG_BIN" topics
    newer=$(compgen -G "$root/var/venv/lib/python3*/site-packages/confluent_kafka.libs/librdkafka-*.so*" | head -n 1 || true)
    if [ -n "$newer" ]; then
        scram_works LD_PRELOAD="$newer"
    else
        say "there is no newer librdkafka to try SCRAM with (tests/run makes var/venv)"
        [ -z "${CI:-}" ] || exit 1
    fi
fi
