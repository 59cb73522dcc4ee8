#!/usr/bin/env bash
# ctest: TIMEOUT=600 RUN_SERIAL=ON
# Shoppers are told by e-mail what becomes of their orders, once each, while the process that does it is killed hard. The
# mail server wants STARTTLS and a login.
set -euo pipefail
. "$(dirname "$0")/../support/flow.sh"

python=$root/var/venv/bin/python
[ -x "$python" ] && "$python" -c 'import aiosmtpd' 2>/dev/null || {
    say "aiosmtpd is missing (tests/run makes var/venv)"
    [ -n "${CI:-}" ] && exit 1 || exit 77
}
need_var
mail_port='' keys=$(mktemp -d "$root/var/test-mail.XXXXXX")
litter+=("$keys")
trap 'rm -rf "$keys"' EXIT
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=mail -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$keys/key.pem" -out "$keys/certificate.pem" 2>"$keys/openssl.log" || fail "no certificate: $(<"$keys/openssl.log")"
free_port mail_port
ORDERLOG_MAIL=smtp://shop:p%40ss%2Fword@127.0.0.1:$mail_port ORDERLOG_MAIL_CA=$keys/certificate.pem
export ORDERLOG_MAIL ORDERLOG_MAIL_CA ORDERLOG_MAIL_FROM=orders@shop.example ORDERLOG_SHOP_NAME="Corner Shop"
flow_start
mails=$dir/mails
touch "$mails"
"$python" -B "$root/tests/lambda/smtp_sink.py" "$mails" "$mail_port" "$keys/certificate.pem" "$keys/key.pem" shop p@ss/word \
    >"$logs/sink.log" 2>&1 &
guests+=("$!")

feed_start 60 4
await_orders 15
kill_hard up
await_orders 30
kill_hard up
feed_finish 60
settle_and_verify

# Until the notifier has answered for every event that somebody is to be told of.
deadline=$(($(uptime_s) + 240))
until "$ORDERLOG_BIN" tail -e --output json -t shop.order.events.v1,shop.payment.events.v1,shop.notification.events.v1 \
    >"$dir/events" && "$python" -B "$root/tests/lambda/check_notices.py" settled "$dir/events" "$mails"; do
    [ "$(uptime_s)" -lt "$deadline" ] || fail "not every shopper was told"
    sleep 0.5
done
"$python" -B "$root/tests/lambda/check_notices.py" check "$dir/events" "$mails" || fail "shoppers were told something else"
[ "$(view "SELECT count(*) FROM notifier.claim WHERE outcome IS NULL")" = 0 ] || fail "a claim is open"
! grep -hE 'household-|p(@|%40)ss' "$logs"/up.log ||
    fail "an address is in the log of the process"
"$ORDERLOG_BIN" verify --wait 60 --output json >"$dir/verify.json" || fail "verify ended with status $?"
