#!/usr/bin/env python3
# ctest: TIMEOUT=600
"""The program as a function on Lambda: the Runtime API by a stand-in, DynamoDB and SES by moto, a log of its own."""
import base64
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "var/venv/bin/python"
if VENV.exists() and sys.prefix == sys.base_prefix:
    os.execv(VENV, [VENV, "-B", *sys.argv])
try:
    import boto3
    import fastavro
    import flask_cors  # noqa: moto.server needs it
    import moto.server  # noqa
except ImportError as missing:
    print(f"{missing.name} is missing (tests/run makes var/venv)")
    sys.exit(1 if os.environ.get("CI") else 77)
from runtime_api import RuntimeApi

TABLE = "orderlog-claims"
FROM = "orders@shop.example"
IDS = {name: ids[-1] for name, ids in json.loads((ROOT / "schemas/ids.json").read_text()).items()}
UNIONS = {}
SHOPPER = "0190f3a1-0000-8000-8000-00000000000a"
failed = 0


def check(what, good, seen=""):
    global failed
    if not good:
        failed += 1
        print(f"WRONG: {what}: {seen}")


def order(number):
    return f"{number:08d}-0000-8000-8000-000000000001"


def encode(topic, name, event):
    if topic not in UNIONS:
        UNIONS[topic] = fastavro.parse_schema(json.loads((ROOT / f"schemas/{topic}.avsc").read_text()))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, UNIONS[topic], (name, event))
    return b"\0" + IDS[topic].to_bytes(4, "big") + out.getvalue()


class Batch:
    """What Lambda would hand over: offsets of each partition go on from batch to batch."""
    offsets = {}

    def __init__(self):
        self.records = {}

    def add(self, topic, partition, key, value, name="", event_id="", age_s=0):
        at = f"{topic}-{partition}"
        offset = Batch.offsets[at] = Batch.offsets.get(at, 99) + 1
        headers = {"ce_specversion": "1.0", "ce_id": event_id, "ce_source": "/orderlog/orders/0", "ce_type": name,
                   "ce_time": "2026-01-01T00:00:00Z", "ce_subject": key, "content-type": "application/avro",
                   "command_id": "0190f3a1-0000-8000-8000-00000000000c"}
        # Lambda's own are Java's bytes, which have a sign.
        raw = lambda text: [byte - 256 if byte > 127 else byte for byte in text.encode()]
        self.records.setdefault(at, []).append({
            "topic": topic, "partition": partition, "offset": offset, "timestamp": int((time.time() - age_s) * 1000),
            "timestampType": "LOG_APPEND_TIME", "key": base64.b64encode(key.encode()).decode(),
            "value": None if value is None else base64.b64encode(value).decode(),
            "headers": [{k: raw(v)} for k, v in headers.items()]})
        return offset

    def event(self, number, kind, partition=0, topic="shop.order.events.v1", age_s=0, **fields):
        name = f"shop.{topic.split('.')[1]}.v1.{kind}"
        fields = {"order_id": order(number), **({"version": 1} if ".order." in topic else {}), **fields}
        return self.add(topic, partition, order(number), encode(topic, name, fields), name, f"{kind}-{number}", age_s)

    def placed(self, number, partition=0, currency="USD"):
        money = lambda minor: {"minor": minor, "currency": currency}
        line = {"sku": "tea", "name": "Tea & <b>more</b>", "quantity": 2, "unit_price": money(61725), "line_total": money(123450), "revision": 1}
        return self.event(number, "OrderPlaced", partition, cart_id=order(number), shopper_id=SHOPPER, lines=[line],
                          totals={"items": money(123450), "discount": money(0), "shipping": money(500), "tax": money(0), "total": money(123950)},
                          ship_to={"country": "US", "region": "NY"}, personal_ref=f"ref-{number}", location="main",
                          payment_method="pm_card_visa", placed_at=1767225600000000)

    def details(self, number, email, partition=1):
        topic, name, key = "shop.personal.v1", "shop.personal.v1.PersonalDetails", f"{SHOPPER}/ref-{number}"
        address = {"name": "Ann", "line1": "1 Way", "line2": None, "city": "NY", "region": "NY", "postal_code": "1", "country": "US"}
        value = None if email is None else encode(topic, name, {"shopper_id": SHOPPER, "ref": f"ref-{number}", "email": email, "address": address})
        return self.add(topic, partition, key, value, name, f"details-{number}")

    def confirmed(self, number, partition=0, **more):
        return self.event(number, "OrderConfirmed", partition, payment_id=order(7), **more)

    def all(self):
        return {"eventSource": "aws:kafka", "eventSourceArn": "arn:aws:kafka:us-east-1:123456789012:cluster/orderlog/x",
                "bootstrapServers": "b-1:9098", "records": self.records}


class Bench:
    def __init__(self, folder, moto_url, api):
        self.folder, self.moto, self.api = folder, moto_url, api
        self.program = folder / "bootstrap"
        self.program.symlink_to(os.environ["ORDERLOG_BIN"])
        self.log = open(folder / "function.log", "ab")
        keys = {"aws_access_key_id": "AKIAEXAMPLE", "aws_secret_access_key": "secret", "region_name": "us-east-1", "endpoint_url": moto_url}
        self.dynamodb, self.ses = boto3.client("dynamodb", **keys), boto3.client("sesv2", **keys)
        self.dynamodb.create_table(TableName=TABLE, BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                                   AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}])
        self.environment = {
            "PATH": os.environ["PATH"], "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "token",
            "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": moto_url, "ORDERLOG_LOG": f"sqlite://{folder}/log.db", "ORDERLOG_MAIL": "ses://",
            "ORDERLOG_MAIL_FROM": FROM, "ORDERLOG_SHOP_NAME": "Corner Shop", "ORDERLOG_CLAIMS": f"dynamodb://{TABLE}"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        subprocess.run([os.environ["ORDERLOG_BIN"], "topics", "apply"], env=self.environment, check=True, stdout=subprocess.DEVNULL)

    def start(self, **changes):
        environment = {**self.environment, **changes}
        self.api.start([self.program], {k: v for k, v in environment.items() if v is not None}, self.log)

    def invoke(self, batch, seconds=120):
        return self.api.invoke(batch.all() if isinstance(batch, Batch) else batch, seconds)

    def mails(self):
        with urllib.request.urlopen(self.moto + "/moto-api/data.json") as answer:
            data = json.load(answer)
        return data.get("ses", {}).get("Message", [])

    def notifications(self):
        done = subprocess.run([os.environ["ORDERLOG_BIN"], "tail", "-e", "--output", "json", "-t", "shop.notification.events.v1"],
                              env=self.environment, check=True, capture_output=True, text=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def items(self):
        return {item["id"]["S"]: item for item in self.dynamodb.scan(TableName=TABLE)["Items"]}


def ok(answer):
    return answer == ("response", {"batchItemFailures": []}, None)


def failures(answer):
    return [(f["itemIdentifier"]["partition"], f["itemIdentifier"]["offset"]) for f in answer[1].get("batchItemFailures", [])] \
        if answer[0] == "response" else answer


def errors_of_the_init(bench):
    for change, kind, text in (({"ORDERLOG_MAIL": None}, "orderlog.config", "ORDERLOG_MAIL"),
                               ({"ORDERLOG_CLAIMS": "postgresql://x"}, "orderlog.config", "dynamodb://TABLE"),
                               ({"ORDERLOG_LOG": "sqlite:///no/such/folder/log.db"}, None, "")):
        bench.start(**change)
        answer = bench.api.next_answer()
        check("an init that fails is told", answer[0] == "init/error", answer)
        check("with its kind", answer[1]["errorType"] == answer[2] and kind in (None, answer[2]) and text in answer[1]["errorMessage"], answer)
        check("and ends", bench.api.program.wait(60) not in (0, None))
        bench.api.end()


def errors_of_an_invocation(bench):
    for event in (b"{", b"[]", b'{"Records":[]}', {"records": {"t-0": [{"topic": "t"}]}}, b'"\xff"'):
        answer = bench.invoke(event)
        check("what is no batch is refused", answer[0] == "error" and answer[2] == "orderlog.invalid-body" == answer[1]["errorType"], answer)
    check("an empty one is fine", ok(bench.invoke({"eventSource": "aws:kafka", "records": {}})))


def a_shopper_is_told(bench):
    bench.ses.create_email_identity(EmailIdentity=FROM)
    bench.ses.create_email_identity(EmailIdentity="shop.example")
    batch = Batch()
    batch.details(1, "ann@example.org")
    batch.placed(1)
    batch.confirmed(1)
    batch.event(2, "OrderRejected", 3, cart_id=order(2), shopper_id=SHOPPER, reason="price-changed", errors=[], totals=None, winner=None, placed_at=1)
    first = bench.invoke(batch)
    if not ok(first):  # the partitions come in any order: the address may have come after the order
        check("only for want of the address", [f[0] for f in failures(first)] == ["shop.order.events.v1-0"], first)
        check("it goes when it comes again", ok(bench.invoke(batch)))
    mails = bench.mails()
    check("one mail", len(mails) == 1, mails)
    body = json.dumps(mails, ensure_ascii=False)
    for part in ("ann@example.org", FROM, "Corner Shop: your order 00000001 is confirmed", "$1,239.50"):
        check(f"{part} is in it", part in body, body)
    told = bench.notifications()
    check("both are told of", sorted((n["type"].rsplit(".", 1)[1], n["key"], n["event"]["cause"]) for n in told) ==
          [("NotificationSent", order(1), "OrderConfirmed-1"), ("NotificationSuppressed", order(2), "OrderRejected-2")], told)
    check("the trace of the command goes on", {n["headers"]["command_id"] for n in told} == {"0190f3a1-0000-8000-8000-00000000000c"}, told)
    check("the same batch again is fine", ok(bench.invoke(batch)))
    bench.api.end()
    bench.start()
    check("also in another process", ok(bench.invoke(batch)))
    check("and sends nothing", len(bench.mails()) == 1)
    check("and tells nothing", len(bench.notifications()) == 2)
    claim = bench.items()[f"notice#{order(1)}/order-confirmed/OrderConfirmed-1"]
    check("a claim ends by itself", 80 * 86400 < int(claim["expires_at"]["N"]) - time.time() < 91 * 86400, claim)


def what_fails_comes_again(bench):
    batch = Batch()
    for number in (10, 11, 12):
        batch.details(number, f"s{number}@example.org")
    check("addresses", ok(bench.invoke(batch)))
    batch = Batch()
    batch.placed(10, 0)
    batch.confirmed(10, 0)
    bad = batch.add("shop.order.events.v1", 0, order(10), b"\0\0\0\0\x09\x99", "shop.order.v1.OrderShipped", "bad")
    batch.event(10, "OrderDelivered", 0)
    batch.placed(11, 4, currency="JPY")
    batch.confirmed(11, 4)
    lost = batch.add("shop.strange.v1", 2, "k", b"x", "x", "x")
    before = len(bench.mails())
    answer = bench.invoke(batch)
    check("from the one that failed on", sorted(failures(answer)) == [("shop.order.events.v1-0", bad), ("shop.strange.v1-2", lost)], answer)
    check("those before it, and other partitions, went", len(bench.mails()) == before + 2, len(bench.mails()))
    check("in its own currency", "¥123,950" in json.dumps(bench.mails()[-1], ensure_ascii=False) + json.dumps(bench.mails()[-2], ensure_ascii=False))
    # The address is on its way by another topic; then it is there.
    batch = Batch()
    batch.placed(20)
    at = batch.confirmed(20)
    answer = bench.invoke(batch)
    check("an order without an address waits", failures(answer) == [("shop.order.events.v1-0", at)], answer)
    check("its claim is free", "held_until_ms" not in bench.items()[f"notice#{order(20)}/order-confirmed/OrderConfirmed-20"])
    details = Batch()
    details.details(20, "late@example.org")
    check("the address", ok(bench.invoke(details)))
    check("then it goes", ok(bench.invoke(batch)) and "late@example.org" in json.dumps(bench.mails()[-1]))


def refunds_and_erasure(bench):
    batch = Batch()
    refund = batch.event(30, "PaymentRefunded", 5, "shop.payment.events.v1", payment_id=order(8), attempt=1,
                         amount={"minor": 1234, "currency": "USD"}, provider_ref="pi_1")
    answer = bench.invoke(batch)
    check("a refund waits for its order", failures(answer) == [("shop.payment.events.v1-5", refund)], answer)
    orders = Batch()
    orders.placed(30)
    orders.details(30, "refund@example.org")
    check("the order", ok(bench.invoke(orders)))
    check("then it is told", ok(bench.invoke(batch)) and "Refunded: $12.34" in json.dumps(bench.mails()[-1]))
    before = len(bench.mails())
    erase = Batch()
    erase.details(30, None)
    check("the tombstone", ok(bench.invoke(erase)))
    check("the address is gone", "refund@example.org" not in json.dumps(bench.items(), default=str))
    check("an older record again", ok(bench.invoke(orders)) and "refund@example.org" not in json.dumps(bench.items(), default=str))
    shipped, old = Batch(), Batch()
    shipped.event(30, "OrderShipped", shipment_id=order(9))
    check("nobody is told", ok(bench.invoke(shipped)) and len(bench.mails()) == before)
    old.event(10, "OrderDelivered", age_s=3 * 86400)
    check("nor of what is old", ok(bench.invoke(old)) and len(bench.mails()) == before)
    reasons = {n["event"]["cause"]: n["event"].get("reason") for n in bench.notifications()}
    check("for these reasons", (reasons["OrderShipped-30"], reasons["OrderDelivered-10"]) == ("no-address", "too-old"), reasons)


def the_deadline(bench):
    batch = Batch()
    batch.placed(40)
    at = batch.confirmed(40)
    before = len(bench.mails())
    answer = bench.invoke(batch, seconds=20)
    check("what there is no time for comes again", failures(answer) == [("shop.order.events.v1-0", at)], answer)
    check("and was not begun", len(bench.mails()) == before)


def no_log(bench):
    bench.api.end()
    bench.start(ORDERLOG_LOG=None)
    answer = bench.invoke({"eventSource": "aws:kafka", "records": {}})
    check("a batch without brokers is refused where no log is named", answer[0] == "error" and answer[2] == "orderlog.config", answer)
    bench.api.end()
    bench.start()


def mail_that_is_not_taken(bench):
    batch = Batch()
    batch.details(50, "s50@example.org")
    batch.details(51, "not an address")
    check("addresses", ok(bench.invoke(batch)))
    batch = Batch()
    batch.placed(50)
    at = batch.confirmed(50)
    bench.api.end()
    bench.start(ORDERLOG_MAIL_FROM="stranger@nowhere.example")
    answer = bench.invoke(batch)
    check("a sender that is not verified is ours to mend", failures(answer) == [("shop.order.events.v1-0", at)], answer)
    bench.api.end()
    bench.start(AWS_ENDPOINT_URL_SESV2="http://127.0.0.1:9")
    check("nor is it lost while SES is away", failures(bench.invoke(batch)) == [("shop.order.events.v1-0", at)])
    bench.api.end()
    bench.start(AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9")
    check("nor while DynamoDB is", failures(bench.invoke(batch)) == [("shop.order.events.v1-0", at - 1)])
    bench.api.end()
    bench.start()
    check("it goes in the end", ok(bench.invoke(batch)) and "s50@example.org" in json.dumps(bench.mails()[-1]))
    batch = Batch()
    batch.placed(51)
    batch.confirmed(51)
    before = len(bench.mails())
    check("what is no address is not written to", ok(bench.invoke(batch)) and len(bench.mails()) == before)


def the_package(bench):
    """What is uploaded needs nothing of the system that it runs on."""
    zipped, task = bench.folder / "notifier.zip", bench.folder / "task"
    subprocess.run([ROOT / "infra/aws/release/lambda", os.environ["ORDERLOG_BIN"], zipped], check=True)
    check("it is small enough", zipped.stat().st_size < 50 << 20, zipped.stat().st_size)
    subprocess.run([sys.executable, "-m", "zipfile", "-e", zipped, task], check=True)
    for path in task.rglob("*"):  # zipfile leaves modes out
        path.chmod(0o755)
    bench.api.end()
    program, bench.program = bench.program, task / "bootstrap"
    bench.start(LAMBDA_TASK_ROOT=str(task), PATH=None)
    bench.program = program
    bench.api.await_ready()
    maps = pathlib.Path(f"/proc/{bench.api.program.pid}/maps").read_text().splitlines()
    files = {line.split(None, 5)[5] for line in maps if " /" in line}
    check("nothing is taken from elsewhere", all(f.startswith(str(bench.folder)) for f in files), files)
    batch = Batch()
    batch.details(60, "s60@example.org")
    check("it takes addresses", ok(bench.invoke(batch)))
    batch = Batch()
    batch.placed(60)
    batch.confirmed(60)
    check("and sends", ok(bench.invoke(batch)) and "s60@example.org" in json.dumps(bench.mails()[-1]))


def run(folder, moto_url):
    with RuntimeApi() as api:
        bench = Bench(folder, moto_url, api)
        errors_of_the_init(bench)
        bench.start()
        for part in (errors_of_an_invocation, a_shopper_is_told, what_fails_comes_again, refunds_and_erasure, the_deadline, no_log, mail_that_is_not_taken):
            print(part.__name__, flush=True)
            part(bench)
        if not os.environ["ORDERLOG_BUILD"].endswith(("-asan-ubsan", "-tsan", "-coverage")):
            the_package(bench)
        api.end()
        bench.log.close()
        log = (folder / "function.log").read_text(encoding="utf-8")
        check("no address is in the log", "@example.org" not in log, [line for line in log.splitlines() if "@example.org" in line])
        check("nothing crashed", "Sanitizer" not in log and "runtime error" not in log, log[-3000:])
        if failed:
            print(log[-6000:])


def main():
    (ROOT / "var").mkdir(exist_ok=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="test-lambda.", dir=ROOT / "var"))
    with open(folder / "moto.log", "w", encoding="utf-8") as log:
        server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", "0"], stdout=log, stderr=log)
    try:
        while not (said := (folder / "moto.log").read_text().partition("Running on ")[2].split()):
            if server.poll() is not None:
                sys.exit((folder / "moto.log").read_text())
            time.sleep(0.05)
        run(folder, said[0])
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)
    sys.exit(bool(failed))


main()
