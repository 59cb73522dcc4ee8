#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# The passwords of PostgreSQL and Redis are in Secrets Manager (moto's), and are changed in the middle of a feed, whose every
# connection is then cut: the program, which is not started anew, connects with the new ones; and none of them is printed.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

baskets=150 python=$root/var/venv/bin/python
"$python" -c 'import moto.server, flask_cors, boto3' 2>/dev/null || {
    say "moto is missing (tests/run makes var/venv)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}

as_admin() {
    psql -XAtq -v ON_ERROR_STOP=1 -h "$pg_socket" -U postgres -d orderlog -c "$1"
}

# rotate PASSWORD: in both stores, then in both secrets, then everybody is put out.
rotate() {
    as_admin "ALTER ROLE shop PASSWORD '$1'"
    redis-cli -s "$redis_socket" ACL SETUSER shop reset on ">$1" '~*' '&*' '+@all' >/dev/null
    "$python" - "$AWS_ENDPOINT_URL" "$1" "$pg_socket" <<'PY'
import json, sys
import boto3
url, password, socket = sys.argv[1:]
store = boto3.client("secretsmanager", endpoint_url=url)
for name, value in {"shop/postgres": {"username": "shop", "url": f"postgresql://shop:{password}@/orderlog?host={socket}"},
                    "shop/redis": {"password": password}}.items():
    try:
        store.create_secret(Name=name, SecretString=json.dumps(value))
    except store.exceptions.ResourceExistsException:
        store.put_secret_value(SecretId=name, SecretString=json.dumps(value))
PY
    as_admin "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'shop'" >/dev/null
    redis-cli -s "$redis_socket" CLIENT KILL USER shop >/dev/null
}

is_back() {
    as_admin "SELECT application_name FROM pg_stat_activity WHERE usename = 'shop'" | grep -q orderlog-decider
}

moto_says() {
    sed -n 's/.*Running on //p' "$logs/moto.log" | head -n 1 | grep .
}

flow_start
first_baskets "$baskets" "$dir/baskets.csv"
baskets_file=$dir/baskets.csv
service_stop up
"$python" -m moto.server -p 0 >"$logs/moto.log" 2>&1 &
guests+=($!)
service_await postgres 60 moto_says
AWS_ENDPOINT_URL=$(moto_says)
export AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1

{
    echo 'local all shop scram-sha-256'
    cat "$pg_data/pg_hba.conf"
} >"$dir/hba"
cat "$dir/hba" >"$pg_data/pg_hba.conf"
as_admin "CREATE ROLE shop LOGIN SUPERUSER"
as_admin "SELECT pg_reload_conf()" >/dev/null
first=first-$RANDOM$RANDOM second=second-$RANDOM$RANDOM
rotate "$first"

# So long that nothing but a refused password can be why a secret is asked for again.
# One is named in the environment, as machines are told, one in a file, as pods are.
echo 'secretsmanager:shop/redis#password' >"$dir/redis-password"
with_secrets=(env ORDERLOG_SECRETS_REFRESH_SECONDS=86400 "DATABASE_URL=secretsmanager:shop/postgres#url"
    REDIS_USER=shop "REDIS_PASSWORD_FILE=$dir/redis-password")
status=0
"${with_secrets[@]}" "DATABASE_URL=secretsmanager:shop/postgres#no-such" "$ORDERLOG_BIN" verify >"$dir/refused" 2>&1 || status=$?
[ "$status" = 2 ] && grep -q 'DATABASE_URL: secret shop/postgres has no field no-such' "$dir/refused" ||
    fail "a field that is not there: $(cat "$dir/refused")"
status=0
"${with_secrets[@]}" REDIS_PASSWORD_FILE="$dir/no-such" "$ORDERLOG_BIN" rebuild --diff redis/orders >"$dir/refused" 2>&1 || status=$?
[ "$status" = 2 ] && grep -q "REDIS_PASSWORD_FILE: cannot open $dir/no-such" "$dir/refused" ||
    fail "a file that is not there: $status, $(cat "$dir/refused")"
service_start up "${with_secrets[@]}" "$ORDERLOG_BIN" up
up_await
pid=$(service_pid up)
feed_start "$baskets" 4
await_orders 30
feed_holds
rotate "$second"
feed_goes_on
feed_finish "$baskets"
settle_and_verify
[ "$(service_pid up)" = "$pid" ] || fail "the program was started anew"
service_await up 60 is_back
"${with_secrets[@]}" "$ORDERLOG_BIN" rebuild --diff redis/orders >"$dir/rebuild" 2>&1 || fail "rebuild: $(cat "$dir/rebuild")"
! grep -rFl -e "$first" -e "$second" "$logs" "$dir/rebuild" "$dir/refused" || fail "a password was printed"
