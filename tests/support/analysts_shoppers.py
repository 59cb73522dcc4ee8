"""Shoppers whom no basket of the feed is like: one who never checks out, one whose card is declined, one who then pays with
another card and comes again, one who cancels. One after the other, so that what comes of it is always the same. They buy
a product of their own, PEN."""
import json
import os
import time
import urllib.error
import urllib.request

API = os.environ["ORDERLOG_API"]
OPERATOR = os.environ["ORDERLOG_OPERATOR_TOKEN"]
PATIENCE_S = 60
keys = iter(range(1000))


def call(method, path, token=None, body=None):
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"analysts-{next(keys)}"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(API + path, data=data, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def await_that(path, token, is_so):
    """The resource, once it is as wanted; one's own that is not there yet is waited for."""
    deadline, seen = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < deadline:
        try:
            seen = call("GET", path, token)
            if is_so(seen):
                return seen
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise
        time.sleep(0.02)
    raise SystemExit(f"{path} did not become what it should: {seen}")


def stock_up():
    call("PUT", "/v1/products/PEN", OPERATOR, {"name": "A pen", "price": {"minor": 250, "currency": "USD"}})
    call("POST", "/v1/inventory/PEN/receipts", OPERATOR, {"quantity": 10, "location": "main"})
    call("POST", "/v1/inventory/PEN/adjustments", OPERATOR, {"quantity": -1, "location": "main", "reason": "damaged"})
    await_that("/v1/inventory/PEN", OPERATOR, lambda stock: sum(at["available"] for at in stock["locations"]) == 9)
    await_that("/v1/products/PEN", OPERATOR, lambda product: product["available"] == 9 and product["price"]["minor"] == 250)


def session():
    return call("POST", "/v1/sessions")["token"]


def fill_cart(token, quantity):
    cart = call("POST", "/v1/carts", token)["cart_id"]
    call("POST", f"/v1/carts/{cart}/lines", token, {"sku": "PEN", "quantity": quantity})
    await_that(f"/v1/carts/{cart}", token, lambda shown: shown["totals"]["total"]["minor"] == quantity * 250)
    return cart


def check_out(token, quantity, card):
    address = {"name": "P. Buyer", "line1": "1 Main Street", "city": "Cincinnati", "region": "OH", "postal_code": "45202",
               "country": "US"}
    return call("POST", "/v1/checkouts", token, {
        "cart_id": fill_cart(token, quantity), "expected_total": {"minor": quantity * 250, "currency": "USD"},
        "payment_method": card, "email": "p.buyer@example.org", "shipping_address": address})["order_id"]


def await_status(order, token, status):
    await_that(f"/v1/orders/{order}", token, lambda shown: shown["status"] == status)


def main():
    stock_up()
    fill_cart(session(), 2)

    token = session()
    await_status(check_out(token, 1, "pm_card_chargeDeclined"), token, "payment_failed")

    token = session()
    order = check_out(token, 1, "pm_card_chargeDeclinedInsufficientFunds")
    await_status(order, token, "payment_failed")
    call("POST", f"/v1/orders/{order}/payments", token, {"payment_method": "pm_card_visa"})
    await_status(order, token, "confirmed")
    await_status(check_out(token, 3, "pm_card_mastercard"), token, "confirmed")

    token = session()
    order = check_out(token, 2, "pm_card_visa")
    await_status(order, token, "confirmed")
    call("POST", f"/v1/orders/{order}/cancel", token, {})
    await_status(order, token, "cancelled")


if __name__ == "__main__":
    main()
