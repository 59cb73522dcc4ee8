"""Orders that leave the happy path, each by a shopper of its own, all at once: see tests/flow/test_off_path.sh."""
import concurrent.futures
import hmac
import json
import os
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request

API = os.environ["ORDERLOG_API"]
OPERATOR = os.environ["ORDERLOG_OPERATOR_TOKEN"]
ORDERLOG = os.environ["ORDERLOG_BIN"]
PRICE, PATIENCE_S = 1999, 120


class Failure(Exception):
    pass


def check(right, what):
    if not right:
        raise Failure(what)


def call(method, path, token=None, key=None, body=None, headers=None, raw=None):
    """(status, JSON)"""
    sent = dict(headers or {})
    if token:
        sent["Authorization"] = f"Bearer {token}"
    if key:
        sent["Idempotency-Key"] = key
    data = raw if raw is not None else json.dumps(body).encode() if body is not None else None
    if data is not None:
        sent["Content-Type"] = "application/json"
    request = urllib.request.Request(API + path, data=data, headers=sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def stock(sku, quantity):
    must(202, call("PUT", f"/v1/products/{sku}", OPERATOR, f"{sku}-price",
                   {"name": sku, "price": {"minor": PRICE, "currency": "USD"}}))
    must(202, call("POST", f"/v1/inventory/{sku}/receipts", OPERATOR, f"{sku}-stock",
                   {"quantity": quantity, "location": "main"}))


def must(status, answer):
    check(answer[0] == status, f"answered {answer}")
    return answer[1]


def orderlog(*arguments, status=0):
    done = subprocess.run([ORDERLOG, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(status is None or done.returncode == status, f"{arguments}: {done.returncode} {done.stdout} {done.stderr}")
    return done.stdout


def until(what, condition):
    """The first answer of `condition` that is not None."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = condition()
        if found is not None:
            return found
        time.sleep(0.1)
    raise Failure(f"{what}: not in {PATIENCE_S} s")


def unknown():
    return json.loads(orderlog("payments", "unknown", "--output", "json"))["unknown"]


def ledger():
    """The provider's payments."""
    with open(os.environ["ORDERLOG_PROVIDER_SECRET_FILE"], encoding="utf-8") as file:
        secret = file.read().strip()
    request = urllib.request.Request(os.environ["ORDERLOG_PROVIDER"] + "/sandbox/ledger",
                                     headers={"Authorization": f"Bearer {secret}"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())["payment_intents"]


class Order:
    def __init__(self, name, method, sku="widget", headers=None):
        self.name = name
        self.headers = headers  # of what is asked for once there is a cart
        self.token = must(201, call("POST", "/v1/sessions"))["token"]
        self.cart = must(201, call("POST", "/v1/carts", self.token, f"{name}-cart"))["cart_id"]
        must(202, call("POST", f"/v1/carts/{self.cart}/lines", self.token, f"{name}-line", {"sku": sku, "quantity": 1}))
        until("the cart", lambda: self.shown_cart())
        body = {"cart_id": self.cart, "expected_total": {"minor": PRICE, "currency": "USD"}, "payment_method": method,
                "email": "ann@example.org",
                "shipping_address": {"name": "Ann", "line1": "1 Main Street", "city": "Cincinnati", "region": "OH",
                                     "postal_code": "45202", "country": "US"}}
        self.id = must(202, call("POST", "/v1/checkouts", self.token, f"{name}-checkout", body,
                                  self.headers))["order_id"]

    def shown_cart(self):
        status, cart = call("GET", f"/v1/carts/{self.cart}", self.token)
        return cart if status == 200 and cart["totals"]["total"]["minor"] == PRICE else None

    def get(self):
        status, order = call("GET", f"/v1/orders/{self.id}", self.token)
        return order if status == 200 else {"status": "none", "payments": []}

    def events(self):
        """The names of what happened, in order, and the events by name."""
        status, page = call("GET", f"/v1/orders/{self.id}/events", self.token)
        items = page["items"] if status == 200 else []
        return [item["type"].rsplit(".", 1)[1] for item in items], {
            item["type"].rsplit(".", 1)[1]: item["event"] for item in items}

    def until(self, what, condition):
        try:
            return until(f"{self.name}: {what}", condition)
        except Failure as failure:
            raise Failure(f"{failure}; order {self.id} is {self.get()['status']} after {self.events()[0]}") from None

    def becomes(self, status):
        return self.until(status, lambda: (lambda order: order if order["status"] == status else None)(self.get()))

    def happens(self, name, times=1):
        return self.until(f"{times} x {name}", lambda: self.seen(name, times))

    def seen(self, name, times):
        names, events = self.events()
        return events[name] if names.count(name) >= times else None

    def pay(self, method, key):
        must(202, call("POST", f"/v1/orders/{self.id}/payments", self.token, f"{self.name}-{key}",
                       {"payment_method": method}))

    def cancel(self):
        must(202, call("POST", f"/v1/orders/{self.id}/cancel", self.token, f"{self.name}-cancel"))

    def warehouse(self, *steps):
        for step in steps:
            body = {"carrier": "Parcel", "tracking": "1"} if step == "dispatch" else None
            must(202, call("POST", f"/v1/fulfilments/{self.id}/{step}", OPERATOR, f"{self.name}-{step}", body,
                           self.headers))

    def completes(self):
        self.becomes("confirmed")
        self.warehouse("pick", "dispatch", "deliver")
        self.becomes("completed")

    def payments(self):
        """What the provider has of it: (status, held, taken), the oldest first."""
        return [(p["status"], p["amount_capturable"], p["amount_received"]) for p in ledger()
                if p["metadata"].get("order_id") == self.id]

    def has_at_provider(self, *payments):
        until(f"{self.name}: {payments} at the provider, not {self.payments()}",
              lambda: True if self.payments() == list(payments) else None)


HELD = ("requires_capture", PRICE, 0)
GONE = ("canceled", 0, 0)
TAKEN = ("succeeded", 0, PRICE)
REFUSED = ("requires_payment_method", 0, 0)


# ---- payments

def declined_then_paid():
    order = Order("declined-then-paid", "pm_card_chargeDeclined")
    order.becomes("payment_failed")
    order.pay("pm_card_visa", "again")
    order.completes()
    order.has_at_provider(REFUSED, TAKEN)


def five_attempts():
    order = Order("five-attempts", "pm_card_chargeDeclined")
    for attempt in range(2, 6):
        order.happens("OrderPaymentFailed", attempt - 1)
        order.pay("pm_card_chargeDeclined", attempt)
    order.happens("PaymentDeclined", 5)
    order.pay("pm_card_visa", 6)
    refused = order.happens("CommandRefused")
    check(refused["reason"] == "transition-refused", f"refused: {refused}")
    order.becomes("expired")
    order.happens("PaymentVoided")
    order.has_at_provider(*[REFUSED] * 5)


def lost_answer():
    order = Order("lost-answer", "pm_sandbox_timeoutAfter")
    order.completes()
    order.has_at_provider(TAKEN)


def lost_answer_and_webhook():
    order = Order("lost-webhook", "pm_sandbox_unheard_2")
    order.happens("PaymentOutcomeUnknown")
    order.completes()
    order.has_at_provider(TAKEN)


def other_amount():
    order = Order("other-amount", "pm_sandbox_wrongAmount")
    declined = order.happens("PaymentDeclined")
    check(declined["code"] == "amount-mismatch", f"declined: {declined}")
    order.has_at_provider(GONE)
    order.pay("pm_card_visa", "again")
    order.becomes("confirmed")
    order.has_at_provider(GONE, HELD)


def expires_while_unknown():
    """The deadline passes before it is known that the card was charged: it is let go as soon as it is."""
    order = Order("expires-while-unknown", "pm_sandbox_unheard_6")
    order.becomes("expired")
    order.happens("PaymentVoidRequested")
    call_id = until("the open call", lambda: next((c["id"] for c in unknown() if c["order_id"] == order.id), None))
    until("it is known", lambda: True if "settled" in orderlog("payments", "retry", call_id, "--wait", "2", status=None)
          or order.seen("PaymentAuthorized", 1) else None)
    order.happens("PaymentVoided")
    names = [name for name in order.events()[0] if name.startswith(("Payment", "OrderExpired"))]
    check(names[-2:] == ["PaymentAuthorized", "PaymentVoided"], f"what happened: {names}")
    order.has_at_provider(GONE)


def authorised_after_the_deadline():
    """Only a webhook tells that the bank has made up its mind."""
    order = Order("authorised-late", "pm_sandbox_processing")
    order.becomes("expired")
    order.happens("PaymentAuthorized")
    order.happens("PaymentVoided")
    order.has_at_provider(GONE)


def authorised_after_it_was_declined():
    order = Order("authorised-after-all", "pm_sandbox_action")
    order.becomes("payment_failed")
    order.has_at_provider(("requires_action", 0, 0))
    order.pay("pm_card_visa", "again")
    order.completes()
    order.has_at_provider(GONE, TAKEN)


def authorisation_expires():
    order = Order("authorisation-expires", "pm_sandbox_expires")
    order.becomes("confirmed")
    order.happens("AuthorizationExpired")
    check(order.becomes("cancelled")["reason"] == "authorization-expired", "the reason")
    order.happens("FulfilmentCancelled")
    order.happens("ReservationReleased")
    order.has_at_provider(GONE)


def captures_fail():
    """So often that it is left to operators, one of whom has it tried again."""
    order = Order("captures-fail", "pm_sandbox_captureFails_5")
    order.becomes("confirmed")
    order.warehouse("pick", "dispatch")
    for failures in range(1, 5):
        order.happens("CaptureFailed", failures)
        orderlog("payments", "retry", order.id, "--wait", "60", status=1)
    order.happens("CaptureFailed", 5)
    left = [c for c in unknown() if c["order_id"] == order.id]
    check([(c["state"], c["action"], c["tries"]) for c in left] == [("given-up", "capture", 5)], f"left: {left}")
    order.warehouse("deliver")
    order.becomes("delivered")
    check("settled" in orderlog("payments", "retry", order.id, "--wait", "60"), "it is not settled")
    order.becomes("completed")
    order.has_at_provider(TAKEN)


def cancellation_is_refused_once():
    """By the provider: the money is let go at the second try."""
    order = Order("void-fails", "pm_sandbox_cancelFails")
    order.becomes("confirmed")
    order.cancel()
    order.becomes("cancelled")
    order.happens("VoidFailed")
    orderlog("payments", "retry", order.id, "--wait", "60")
    order.happens("PaymentVoided")
    order.has_at_provider(GONE)


# ---- cancellations

def cancelled_at_once():
    """Before or just after its stock is reserved: either way nothing is kept."""
    order = Order("cancelled-at-once", "pm_card_visa")
    order.cancel()
    order.becomes("cancelled")
    until("nothing is held", lambda: True if set(order.payments()) <= {GONE} else None)


def cancelled_before_it_is_confirmed():
    order = Order("cancelled-unconfirmed", "pm_sandbox_unheard_3")
    order.happens("PaymentOutcomeUnknown")
    order.cancel()
    order.becomes("cancelled")
    order.happens("PaymentVoided")
    order.has_at_provider(GONE)


def cancelled_after_it_was_confirmed():
    order = Order("cancelled-confirmed", "pm_card_visa")
    order.becomes("confirmed")
    order.cancel()
    check(order.becomes("cancelled")["reason"] == "cancelled-by-shopper", "the reason")
    for what in ("FulfilmentCancelled", "ReservationReleased", "PaymentVoided"):
        order.happens(what)
    order.has_at_provider(GONE)


def cancelled_after_the_pick():
    order = Order("cancelled-picked", "pm_card_visa")
    order.becomes("confirmed")
    order.warehouse("pick")
    order.becomes("processing")
    order.cancel()
    until("the refusal", lambda: order.seen("CancellationRefused", 1) or order.seen("CommandRefused", 1))
    order.warehouse("dispatch", "deliver")
    order.becomes("completed")
    order.has_at_provider(TAKEN)


def stock_is_short():
    order = Order("stock-short", "pm_card_visa", sku="scarce")
    order.becomes("confirmed")
    must(202, call("POST", "/v1/inventory/scarce/adjustments", OPERATOR, "scarce-broken",
                   {"quantity": -1, "location": "main", "reason": "broken"}))
    check(order.becomes("cancelled")["reason"] == "stock-short", "the reason")
    order.happens("PaymentVoided")
    order.has_at_provider(GONE)


# ---- webhooks

def webhook(event_id, order_id):
    with open(os.environ["ORDERLOG_WEBHOOK_SECRET_FILE"], encoding="utf-8") as file:
        secret = file.read().strip()
    payment = {"id": "pi_of_somebody", "object": "payment_intent", "status": "requires_capture",
               "metadata": {"order_id": order_id} if order_id else {}}
    body = json.dumps({"id": event_id, "type": "payment_intent.amount_capturable_updated",
                       "data": {"object": payment}}).encode()
    at = str(int(time.time()))
    mac = hmac.new(secret.encode(), at.encode() + b"." + body, "sha256").hexdigest()
    must(200, call("POST", "/v1/webhooks/payments/stripe", raw=body, headers={"Stripe-Signature": f"t={at},v1={mac}"}))


def webhooks_of_no_order():
    """One names none; the other one that nobody knows, which only payments can tell."""
    webhook("evt_no_order", None)
    webhook("evt_other_order", "0190a000-0000-8000-8000-000000000001")
    until("both are set aside", lambda: True if {"evt_no_order", "evt_other_order"} == {
        row["event_id"] for row in json.loads(orderlog("payments", "unrouted", "--output", "json"))["unrouted"]} else None)


def webhook_of_no_payment():
    """It names an order of ours, and a payment that the provider does not have: for people to look at."""
    order = Order("no-such-payment", "pm_card_visa")
    order.becomes("confirmed")
    webhook("evt_no_payment", order.id)
    left = until("it is left", lambda: next((c for c in unknown() if c["order_id"] == order.id), None))
    check((left["state"], left["action"]) == ("left", "look") and "no such payment" in left["why"], f"left: {left}")
    check("left again" in orderlog("payments", "retry", left["id"], "--wait", "60", status=1), "it is not left again")
    check(orderlog("payments", "close", left["id"], status=2) == "", "it is closed without being asked to")
    check("settled" in orderlog("payments", "close", left["id"], "--yes", "--wait", "60"), "it is not closed")
    order.warehouse("pick", "dispatch", "deliver")
    order.becomes("completed")


SCENARIOS = [
    authorised_after_the_deadline, authorisation_expires, authorised_after_it_was_declined, expires_while_unknown,
    five_attempts, captures_fail, cancellation_is_refused_once, cancelled_before_it_is_confirmed, lost_answer, lost_answer_and_webhook,
    other_amount, declined_then_paid, cancelled_at_once, cancelled_after_it_was_confirmed, cancelled_after_the_pick,
    stock_is_short, webhooks_of_no_order, webhook_of_no_payment,
]


def run(scenario):
    try:
        scenario()
        return scenario.__name__, None
    except Exception as error:  # told with its name, when the others have ended
        return scenario.__name__, "".join(traceback.format_exception(error))


def main():
    for sku, quantity in (("widget", 1000), ("scarce", 1)):
        stock(sku, quantity)
    with concurrent.futures.ThreadPoolExecutor(len(SCENARIOS)) as pool:
        results = list(pool.map(run, SCENARIOS))
    failed = [f"{name}: {error}" for name, error in results if error]
    for text in failed:
        print(f"FAIL: {text}", file=sys.stderr)
    # A call whose outcome a webhook has told first is over with its next try.
    try:
        until("nothing is open", lambda: None if unknown() else True)
    except Failure as error:
        failed.append(f"{error}: {unknown()}")
        print(failed[-1], file=sys.stderr)
    print(f"{len(SCENARIOS) - len(failed)} of {len(SCENARIOS)} ways off the path ended as they should")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
