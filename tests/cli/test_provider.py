#!/usr/bin/env python3
"""The sandbox payment provider, over real HTTP: payment intents, refunds, idempotency, and kill -9 at any time."""
import base64
import concurrent.futures
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import urllib.parse

ORDERLOG = os.environ["ORDERLOG_BIN"]
SECRET = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"


class Provider:
    def __init__(self, db):
        self.db, self.process, self.port = db, None, None

    def start(self, port=0):
        env = dict(os.environ, ORDERLOG_PROVIDER_SECRET=SECRET)
        command = [ORDERLOG, "provider", "--db", self.db, "--listen", f"127.0.0.1:{port}"]
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


if __name__ == "__main__":
    sys.exit(0 if unittest.main(exit=False, verbosity=1).result.wasSuccessful() else 1)
