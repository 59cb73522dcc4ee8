#!/usr/bin/env python3
"""The sandbox payment provider, over real HTTP: payment intents, refunds, idempotency, and kill -9 at any time."""
import base64
import concurrent.futures
import hmac
import http.client
import http.server
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

ORDERLOG = os.environ["ORDERLOG_BIN"]
SECRET = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"
WEBHOOK_SECRET = "whsec_0123456789abcdef"


class Provider:
    def __init__(self, db, *options):
        self.db, self.options, self.process, self.port = db, options, None, None

    def start(self, port=0):
        env = dict(os.environ, ORDERLOG_PROVIDER_SECRET=SECRET, ORDERLOG_WEBHOOK_SECRET=WEBHOOK_SECRET)
        command = [ORDERLOG, "provider", "--db", self.db, "--listen", f"127.0.0.1:{port}", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.rsplit(":", 1)[1])
        return self

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        status = self.process.wait(timeout=30)
        self.process.stdout.close()
        return status

    def call(self, method, path, params=None, key=None, headers=None, body=None):
        """(status, JSON, headers); authorised unless headers say otherwise."""
        sent = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/x-www-form-urlencoded"}
        if key is not None:
            sent["Idempotency-Key"] = key
        sent.update(headers or {})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body if body is not None else urllib.parse.urlencode(params or {}),
                               {name: value for name, value in sent.items() if value is not None})
            response = connection.getresponse()
            return response.status, json.loads(response.read()), response.headers
        finally:
            connection.close()

    def pay(self, key=None, **params):
        request = {"amount": 1999, "currency": "usd", "capture_method": "manual", "confirm": "true",
                   "payment_method": "pm_card_visa", "metadata[order_id]": "order-1"}
        request.update({name: value for name, value in params.items() if value is not None})
        for name in [name for name, value in params.items() if value is None]:
            del request[name]
        return self.call("POST", "/v1/payment_intents", request, key)

    def ledger(self):
        return self.call("GET", "/sandbox/ledger")[1]


class ProviderTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.provider = Provider(os.path.join(self.folder.name, "provider.db")).start()

    def tearDown(self):
        self.assertEqual(self.provider.stop(), 0)
        self.folder.cleanup()

    def assert_error(self, answer, status, kind, code=None, param=None):
        self.assertEqual(answer[0], status, answer[1])
        error = answer[1]["error"]
        self.assertEqual((error["type"], error.get("code"), error.get("param")), (kind, code, param), error)
        self.assertTrue(error["message"])
        return error

    # ---- payment intents

    def test_authorises_and_captures(self):
        status, intent, _ = self.provider.pay()
        self.assertEqual(status, 200)
        self.assertEqual((intent["object"], intent["status"], intent["amount"], intent["amount_capturable"],
                          intent["amount_received"], intent["currency"], intent["capture_method"],
                          intent["payment_method"], intent["metadata"], intent["livemode"]),
                         ("payment_intent", "requires_capture", 1999, 1999, 0, "usd", "manual", "pm_card_visa",
                          {"order_id": "order-1"}, False))
        self.assertTrue(intent["id"].startswith("pi_") and intent["latest_charge"].startswith("ch_"))
        self.assertEqual(self.provider.call("GET", f"/v1/payment_intents/{intent['id']}")[:2], (200, intent))
        status, captured, _ = self.provider.call("POST", f"/v1/payment_intents/{intent['id']}/capture")
        self.assertEqual((status, captured["status"], captured["amount_received"], captured["amount_capturable"]),
                         (200, "succeeded", 1999, 0))
        again = self.provider.call("POST", f"/v1/payment_intents/{intent['id']}/capture")
        error = self.assert_error(again, 400, "invalid_request_error", "payment_intent_unexpected_state")
        self.assertEqual(error["payment_intent"]["status"], "succeeded")

    def test_captures_less_and_never_more(self):
        path = f"/v1/payment_intents/{self.provider.pay()[1]['id']}/capture"
        self.assert_error(self.provider.call("POST", path, {"amount_to_capture": 2000}), 400, "invalid_request_error",
                          "amount_too_large", "amount_to_capture")
        status, captured, _ = self.provider.call("POST", path, {"amount_to_capture": 500})
        self.assertEqual((status, captured["amount_received"], captured["amount_capturable"]), (200, 500, 0))

    def test_captures_at_once_when_asked_to(self):
        status, intent, _ = self.provider.pay(capture_method="automatic")
        self.assertEqual((status, intent["status"], intent["amount_received"]), (200, "succeeded", 1999))

    def test_declines(self):
        for token, code in (("pm_card_chargeDeclined", "generic_decline"),
                            ("pm_card_chargeDeclinedInsufficientFunds", "insufficient_funds")):
            answer = self.provider.pay(payment_method=token)
            error = self.assert_error(answer, 402, "card_error", "card_declined")
            self.assertEqual(error["decline_code"], code)
            intent = error["payment_intent"]
            self.assertEqual((intent["status"], intent["last_payment_error"]["decline_code"], intent["payment_method"]),
                             ("requires_payment_method", code, None))
            self.assertEqual(self.provider.call("GET", f"/v1/payment_intents/{intent['id']}")[1], intent)
            capture = self.provider.call("POST", f"/v1/payment_intents/{intent['id']}/capture")
            self.assert_error(capture, 400, "invalid_request_error", "payment_intent_unexpected_state")

    def test_waits_to_be_confirmed(self):
        self.assertEqual(self.provider.pay(confirm=None)[1]["status"], "requires_confirmation")
        self.assertEqual(self.provider.pay(confirm=None, payment_method=None)[1]["status"], "requires_payment_method")

    def test_cancels(self):
        path = f"/v1/payment_intents/{self.provider.pay()[1]['id']}/cancel"
        status, canceled, _ = self.provider.call("POST", path, {"cancellation_reason": "abandoned"})
        self.assertEqual((status, canceled["status"], canceled["amount_capturable"], canceled["cancellation_reason"]),
                         (200, "canceled", 0, "abandoned"))
        self.assertIsInstance(canceled["canceled_at"], int)
        self.assert_error(self.provider.call("POST", path), 400, "invalid_request_error",
                          "payment_intent_unexpected_state")
        captured = self.provider.pay(capture_method="automatic")[1]
        late = self.provider.call("POST", f"/v1/payment_intents/{captured['id']}/cancel")
        self.assert_error(late, 400, "invalid_request_error", "payment_intent_unexpected_state")

    def test_refuses_what_is_wrong(self):
        kind = "invalid_request_error"
        for params, code, param in (
                ({"amount": None}, "parameter_missing", "amount"),
                ({"amount": "0"}, "parameter_invalid_integer", "amount"),
                ({"amount": "-5"}, "parameter_invalid_integer", "amount"),
                ({"amount": "19.99"}, "parameter_invalid_integer", "amount"),
                ({"amount": "100000000"}, "amount_too_large", "amount"),
                ({"currency": None}, "parameter_missing", "currency"),
                ({"currency": "dollars"}, "parameter_invalid_string", "currency"),
                ({"capture_method": "later"}, "parameter_invalid_string", "capture_method"),
                ({"confirm": "yes"}, "parameter_invalid_string", "confirm"),
                ({"payment_method": None}, "parameter_missing", "payment_method"),
                ({"payment_method": "4242424242424242"}, "resource_missing", "payment_method"),
                ({"colour": "red"}, "parameter_unknown", "colour")):
            error = self.assert_error(self.provider.pay(**params), 400, kind, code, param)
            self.assertNotIn("4242", error["message"])
        self.assertEqual(self.provider.ledger(), {"payment_intents": [], "refunds": []})
        self.assert_error(self.provider.call("GET", "/v1/payment_intents/pi_none"), 404, kind, "resource_missing",
                          "intent")
        for method, path in (("GET", "/v1/charges"), ("DELETE", "/v1/payment_intents/pi_1"), ("GET", "/"),
                             ("POST", "/v1/payment_intents/pi_1/steal"), ("GET", "/v1/payment_intents/")):
            self.assert_error(self.provider.call(method, path), 404, kind)

    def test_understands_what_forms_can_say(self):
        body = ("amount=100&currency=EUR&&metadata%5Border_id%5D=a%26b+c%C3%A9&metadata[empty]=&payment_method="
                "pm_card_visa&confirm=true&capture_method=manual")
        status, intent, _ = self.provider.call("POST", "/v1/payment_intents", body=body)
        self.assertEqual((status, intent["metadata"], intent["currency"]), (200, {"order_id": "a&b cé"}, "eur"))

    def test_a_request_may_be_too_large(self):
        answer = self.provider.call("POST", "/v1/payment_intents", body="a=" + "x" * 70000)
        self.assert_error(answer, 413, "invalid_request_error")

    # ---- who may ask

    def test_only_those_who_know_the_secret(self):
        basic = base64.b64encode(f"{SECRET}:".encode()).decode()
        self.assertEqual(self.provider.call("GET", "/sandbox/ledger", headers={"Authorization": f"Basic {basic}"})[0], 200)
        wrong = base64.b64encode(b"sk_test_wrong:").decode()
        for header in (None, "", "Bearer", f"Bearer {SECRET}x", f"Bearer {SECRET[:-1]}", f"Basic {wrong}", "Basic !"):
            for path in ("/sandbox/ledger", "/v1/payment_intents/pi_1"):
                answer = self.provider.call("GET", path, headers={"Authorization": header})
                self.assert_error(answer, 401, "invalid_request_error")

    # ---- refunds

    def refund(self, intent, key=None, **params):
        return self.provider.call("POST", "/v1/refunds", {"payment_intent": intent["id"], **params}, key)

    def test_refunds_what_was_captured_and_no_more(self):
        intent = self.provider.pay(capture_method="automatic")[1]
        status, refund, _ = self.refund(intent, amount=500, reason="requested_by_customer")
        self.assertEqual((status, refund["object"], refund["amount"], refund["status"], refund["payment_intent"],
                          refund["currency"], refund["reason"]),
                         (200, "refund", 500, "succeeded", intent["id"], "usd", "requested_by_customer"))
        self.assert_error(self.refund(intent, amount=1500), 400, "invalid_request_error", "amount_too_large", "amount")
        self.assertEqual(self.refund(intent)[1]["amount"], 1499)
        self.assert_error(self.refund(intent), 400, "invalid_request_error", "charge_already_refunded")
        self.assertEqual(len(self.provider.ledger()["refunds"]), 2)

    def test_refunds_nothing_that_was_not_captured(self):
        self.assert_error(self.refund(self.provider.pay()[1]), 400, "invalid_request_error",
                          "payment_intent_unexpected_state")
        self.assert_error(self.refund({"id": "pi_none"}), 400, "invalid_request_error", "resource_missing",
                          "payment_intent")
        self.assert_error(self.provider.call("POST", "/v1/refunds"), 400, "invalid_request_error", "parameter_missing",
                          "payment_intent")

    # ---- idempotency

    def test_a_key_is_answered_once(self):
        first = self.provider.pay("key-1")
        self.assertNotIn("Idempotent-Replayed", first[2])
        again = self.provider.pay("key-1")
        self.assertEqual(again[:2], first[:2])
        self.assertEqual(again[2]["Idempotent-Replayed"], "true")
        self.assertEqual(len(self.provider.ledger()["payment_intents"]), 1)
        self.assert_error(self.provider.pay("key-1", amount=2000), 400, "idempotency_error")
        self.assert_error(self.refund(first[1], "key-1"), 400, "idempotency_error")
        self.assertEqual(len(self.provider.ledger()["payment_intents"]), 1)
        self.assertNotEqual(self.provider.pay("key-2")[1]["id"], first[1]["id"])

    def test_refusals_belong_to_their_key_too(self):
        declined = self.provider.pay("key-1", payment_method="pm_card_chargeDeclined")
        self.assertEqual(self.provider.pay("key-1", payment_method="pm_card_chargeDeclined")[:2], declined[:2])
        intent = self.provider.pay()[1]
        path = f"/v1/payment_intents/{intent['id']}"
        self.assertEqual(self.provider.call("POST", f"{path}/cancel", key="key-2")[0], 200)
        refused = self.provider.call("POST", f"{path}/capture", key="key-3")
        self.assertEqual(refused[0], 400)
        self.assertEqual(self.provider.call("POST", f"{path}/capture", key="key-3")[:2], refused[:2])
        # Parameters that were never right do not use a key up.
        self.assertEqual(self.provider.pay("key-4", amount="x")[0], 400)
        self.assertEqual(self.provider.pay("key-4")[0], 200)
        self.assert_error(self.provider.pay("k" * 256), 400, "idempotency_error")

    def test_one_key_at_once_from_many(self):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: self.provider.pay("key-1"), range(24)))
        self.assertEqual({answer[0] for answer in answers}, {200})
        self.assertEqual(len({answer[1]["id"] for answer in answers}), 1)
        self.assertEqual(len(self.provider.ledger()["payment_intents"]), 1)

    # ---- crashes

    def test_nothing_is_lost_by_kill_9(self):
        intents = [self.provider.pay(f"key-{i}")[1] for i in range(5)]
        self.provider.call("POST", f"/v1/payment_intents/{intents[0]['id']}/capture", key="capture-0")
        self.refund(intents[0], "refund-0", amount=100)
        before = self.provider.ledger()
        for _ in range(3):
            port = self.provider.port
            self.provider.stop(signal.SIGKILL)
            self.provider.start(port)
            self.assertEqual(self.provider.ledger(), before)
            self.assertEqual(self.provider.pay("key-3")[1], intents[3])
            self.assertEqual(self.provider.ledger(), before)

    def test_what_was_answered_before_a_kill_is_there_after_it(self):
        """Killed in the middle of many: each one that was answered is in the ledger, with that answer."""
        answered = {}

        def pay(i):
            try:
                status, intent, _ = self.provider.pay(f"key-{i}")
            except (OSError, http.client.HTTPException):
                return
            if status == 200:
                answered[i] = intent
                if len(answered) == 20:
                    self.provider.process.kill()

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(pay, range(200)))
        port = self.provider.port
        self.provider.process.wait(timeout=30)
        self.provider.process.stdout.close()
        self.provider.start(port)
        self.assertTrue(20 <= len(answered) < 200)
        kept = {intent["id"]: intent for intent in self.provider.ledger()["payment_intents"]}
        for i, intent in answered.items():
            self.assertEqual(kept[intent["id"]], intent)
            self.assertEqual(self.provider.pay(f"key-{i}")[1], intent)


class StartTest(unittest.TestCase):
    def run_provider(self, *arguments, secret=SECRET):
        env = {name: value for name, value in os.environ.items() if not name.startswith("ORDERLOG_PROVIDER")}
        if secret is not None:
            env["ORDERLOG_PROVIDER_SECRET"] = secret
        return subprocess.run([ORDERLOG, "provider", *arguments], env=env, capture_output=True, timeout=30, check=False)

    def test_says_what_is_missing(self):
        with tempfile.TemporaryDirectory() as folder:
            db = os.path.join(folder, "provider.db")
            for arguments, secret in (((), SECRET), (("--db", db), None), (("--db", "/nowhere/provider.db"), SECRET),
                                      (("--db", db, "--listen", "nonsense"), SECRET),
                                      (("--db", db, "--listen", "127.0.0.1:x"), SECRET)):
                done = self.run_provider(*arguments, secret=secret)
                self.assertEqual((done.returncode, done.stdout), (2, b""), arguments)
                self.assertTrue(done.stderr)

    def test_reads_the_secret_from_a_file(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "secret")
            with open(path, "w", encoding="ascii") as file:
                file.write(SECRET + "\n")
            env = {name: value for name, value in os.environ.items() if name != "ORDERLOG_PROVIDER_SECRET"}
            env["ORDERLOG_PROVIDER_SECRET_FILE"] = path
            provider = Provider(os.path.join(folder, "provider.db"))
            command = [ORDERLOG, "provider", "--db", provider.db, "--listen", "127.0.0.1:0"]
            provider.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True)
            provider.port = int(provider.process.stdout.readline().rsplit(":", 1)[1])
            self.assertEqual(provider.pay()[0], 200)
            self.assertEqual(provider.stop(signal.SIGINT), 0)


class Receiver(http.server.ThreadingHTTPServer):
    """Takes webhooks, once it has refused the first `refused` of them."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken = self.server.refused <= 0
            self.server.refused -= 1
            if taken:
                self.server.events.put((time.monotonic(), json.loads(body)))
                self.server.signed.append((self.headers["Stripe-Signature"], body))
            self.send_response(200 if taken else 503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    def __init__(self):
        super().__init__(("127.0.0.1", 0), self.Handler)
        self.events, self.signed, self.refused = queue.Queue(), [], 0
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hooks"

    def take(self):
        """When it came, what type it is, and the payment as it tells."""
        at, event = self.events.get(timeout=60)
        return at, event["type"].removeprefix("payment_intent."), event["data"]["object"]

    def stop(self):
        self.shutdown()
        self.thread.join()
        self.server_close()


class FaultsTest(unittest.TestCase):
    """What goes wrong, by payment method: each test has a provider that sends webhooks."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.receiver = Receiver()
        self.provider = self.start()

    def start(self, *options, port=0):
        db = os.path.join(self.folder.name, "provider.db")
        return Provider(db, "--webhooks", self.receiver.url(), "--after", "1", *options).start(port)

    def tearDown(self):
        self.assertEqual(self.provider.stop(), 0)
        self.receiver.stop()
        self.folder.cleanup()

    def pay(self, fault, key="k"):
        return self.provider.pay(key, payment_method=f"pm_sandbox_{fault}")

    def hang_up(self, fault, key):
        """A request that is given no answer for a second."""
        body = urllib.parse.urlencode({"amount": 1999, "currency": "usd", "capture_method": "manual", "confirm": "true",
                                       "payment_method": f"pm_sandbox_{fault}", "metadata[order_id]": "order-1"})
        connection = http.client.HTTPConnection("127.0.0.1", self.provider.port, timeout=1)
        with self.assertRaises(TimeoutError):
            connection.request("POST", "/v1/payment_intents", body,
                               {"Authorization": f"Bearer {SECRET}", "Idempotency-Key": key})
            connection.getresponse()
        connection.close()

    def statuses(self):
        return [intent["status"] for intent in self.provider.ledger()["payment_intents"]]

    def test_errors_before_and_after(self):
        self.assertEqual([self.pay("error_2")[0] for _ in range(3)], [500, 500, 200])
        self.assertEqual(self.pay("errorAfter", "k2")[0], 500)
        self.assertEqual(self.statuses(), ["requires_capture"] * 2)
        status, intent, headers = self.pay("errorAfter", "k2")
        self.assertEqual((status, headers["Idempotent-Replayed"]), (200, "true"))
        self.assertEqual(self.statuses(), ["requires_capture"] * 2)

    def test_no_answer_before_and_after(self):
        self.hang_up("timeoutBefore", "k1")
        self.assertEqual(self.statuses(), [])
        self.hang_up("timeoutAfter", "k2")
        self.assertEqual(self.statuses(), ["requires_capture"])
        self.assertEqual([self.pay("timeoutBefore", "k1")[0], self.pay("timeoutAfter", "k2")[0]], [200, 200])
        self.assertEqual(self.statuses(), ["requires_capture"] * 2)

    def test_declines_and_another_amount(self):
        self.assertEqual(self.pay("decline")[0], 402)
        self.assertEqual(self.receiver.take()[1], "payment_failed")
        intent = self.pay("wrongAmount", "k2")[1]
        self.assertEqual((intent["amount"], intent["amount_capturable"]), (1999, 1998))

    def test_it_expires(self):
        intent = self.pay("expires")[1]
        self.assertEqual(self.receiver.take()[1], "amount_capturable_updated")
        _, what, told = self.receiver.take()
        self.assertEqual((what, told["id"], told["status"], told["amount_capturable"]),
                         ("canceled", intent["id"], "canceled", 0))
        self.assertEqual(self.statuses(), ["canceled"])

    def test_it_is_authorised_later(self):
        for fault, status in (("processing", "processing"), ("action", "requires_action")):
            answer = self.pay(fault, fault)
            self.assertEqual((answer[0], answer[1]["status"], answer[1]["amount_capturable"]), (200, status, 0))
            _, what, told = self.receiver.take()
            self.assertEqual((what, told["id"], told["amount_capturable"]),
                             ("amount_capturable_updated", answer[1]["id"], 1999))

    def test_captures_and_cancellations_fail(self):
        for fault, action in (("captureFails_2", "capture"), ("cancelFails_2", "cancel")):
            intent = self.pay(fault, fault)[1]["id"]
            path = f"/v1/payment_intents/{intent}/{action}"
            self.assertEqual([self.provider.call("POST", path, {}, f"{action}-{n}")[0] for n in range(3)],
                             [402, 402, 200])

    def test_webhooks_are_signed_and_sent_until_they_are_taken(self):
        self.receiver.refused = 2
        intent = self.pay("slow")[1]
        self.assertEqual(self.receiver.take()[1:], ("amount_capturable_updated", intent))
        header, body = self.receiver.signed[0]
        at, given = (part.split("=", 1)[1] for part in header.split(","))
        mac = hmac.new(WEBHOOK_SECRET.encode(), at.encode() + b"." + body, "sha256").hexdigest()
        self.assertEqual(given, mac)

    def test_webhooks_survive_a_kill(self):
        self.receiver.refused = 1000000
        self.pay("late")
        self.provider.stop(signal.SIGKILL)
        self.receiver.refused = 0
        self.provider = self.start()
        self.assertEqual(self.receiver.take()[1], "amount_capturable_updated")

    def test_webhooks_twice_late_early_and_overtaken(self):
        self.pay("duplicate", "k1")
        self.assertEqual(self.receiver.take()[2], self.receiver.take()[2])
        began = time.monotonic()
        self.pay("late", "k2")
        self.assertGreaterEqual(self.receiver.take()[0], began + 0.9)
        self.pay("early", "k3")
        self.assertLess(self.receiver.take()[0], time.monotonic())
        intent = self.pay("reorder", "k4")[1]["id"]
        self.provider.call("POST", f"/v1/payment_intents/{intent}/capture", {}, "k5")
        self.assertEqual([self.receiver.take()[1] for _ in range(2)], ["succeeded", "amount_capturable_updated"])

    def test_rates_are_by_seed(self):
        def roll(seed, *rates):
            self.provider.stop()
            self.folder.cleanup()
            self.folder = tempfile.TemporaryDirectory()
            self.provider = self.start("--seed", seed, "--fault", ",".join(rates))
            return [self.provider.pay(f"key-{n}")[0] for n in range(40)]

        first = roll("1", "declines=50%", "errors=0.1")
        self.assertEqual(set(first), {200, 402, 500})
        self.assertEqual(roll("1", "declines=50%", "errors=0.1"), first)
        self.assertNotEqual(roll("2", "declines=50%", "errors=0.1"), first)
        self.assertEqual(set(roll("2", "errors=100%")), {500})
        self.assertEqual(set(roll("2", "errors=0%")), {200})

    def test_unknown_faults(self):
        self.assertEqual(self.pay("no-such-fault")[0], 400)
        for wrong in ("declines", "declines=2", "declines=-1%", "nothing=1%", "declines=1%,"):
            command = [ORDERLOG, "provider", "--db", "x", "--fault", wrong]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, 2)
            self.assertIn("fault", done.stderr)

    def test_search(self):
        for n in range(3):
            self.provider.pay(**{"metadata[order_id]": f"order-{n % 2}", "metadata[payment_id]": f"p-{n}"})

        def search(query):
            path = "/v1/payment_intents/search?" + urllib.parse.urlencode({"query": query})
            status, body, _ = self.provider.call("GET", path)
            return status, [intent["metadata"]["payment_id"] for intent in body.get("data", [])]

        self.assertEqual(search("metadata['order_id']:'order-0'"), (200, ["p-0", "p-2"]))
        self.assertEqual(search("metadata['order_id']:'order-0' AND metadata['payment_id']:'p-2'"), (200, ["p-2"]))
        self.assertEqual(search("metadata['order_id']:'order-1' AND metadata['payment_id']:'p-2'"), (200, []))
        for query in ("", "status:'succeeded'", "metadata['a']:'b' OR metadata['c']:'d'", "metadata['a']:'b"):
            self.assertEqual(search(query)[0], 400)


if __name__ == "__main__":
    sys.exit(0 if unittest.main(exit=False, verbosity=1).result.wasSuccessful() else 1)
