"""Orders whose requests carry a trace, and what the collector was told of them: see tests/flow/test_traces.sh.

  traced_orders.py sell NAME…     an order each, from checkout to completed; its trace is that of the name
  traced_orders.py await NAME     until the collector was told of that trace, to the last e-mail
  traced_orders.py check NAME…    the traces of these, and all others, are whole; NAME=unsampled: there is none
"""
import collections
import hashlib
import json
import os
import re
import sys
import urllib.request

from off_path import API, OPERATOR, Order, check, must, call, orderlog, stock, until

FOLDER = os.environ["TRACES"]
MARGIN_NS = 60 * 10**9
DECIDERS = {"checkout", "orders", "inventory", "payments", "fulfilment", "notifier"}
MAILS = {"mail order-confirmed", "mail order-shipped", "mail order-delivered"}


def trace_of(name):
    return hashlib.md5(name.encode()).hexdigest()


def parent_of(name):
    return trace_of("parent of " + name)[:16]


def told():
    """All spans so far; what was told twice (its first answer was lost) counts once."""
    check(not os.path.exists(f"{FOLDER}/errors") or not open(f"{FOLDER}/errors").read(), "the collector found errors")
    if not os.path.exists(f"{FOLDER}/spans"):
        return []
    with open(f"{FOLDER}/spans", encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    return list({(span["trace"], span["id"]): span for span in map(json.loads, lines)}.values())


# ---- selling

def answer_header(order, headers):
    """What a request with these headers is told of its trace."""
    request = urllib.request.Request(f"{API}/v1/orders/{order.id}",
                                     headers={**headers, "Authorization": f"Bearer {order.token}"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers["traceresponse"]


def sell(names):
    stock("widget", 100)
    for name in names:
        flags = "00" if name.endswith("unsampled") else "01"
        headers = {"traceparent": f"00-{trace_of(name)}-{parent_of(name)}-{flags}", "tracestate": "shop=1,x@y=z"}
        order = Order(name, "pm_card_visa", headers=headers)
        order.completes()
        response = answer_header(order, headers)
        check(re.fullmatch(f"00-{trace_of(name)}-[0-9a-f]{{16}}-{flags}", response), f"traceresponse is {response}")
        check(response[36:52] != parent_of(name), f"traceresponse is the request's: {response}")
        check_records(order, name, flags)
        with open(f"{FOLDER}/order-{name}", "w", encoding="utf-8") as file:
            file.write(order.id)
        print(f"{name}: {order.id}")


def check_records(order, name, flags):
    """Every record about the order is of its trace; what its shopper's state was goes along."""
    records = [json.loads(line) for line in orderlog("tail", "-s", order.id, "-e", "--output", "json").splitlines()]
    check(len(records) > 15, f"only {len(records)} records")
    for record in records:
        headers = record["headers"]
        check(re.fullmatch(f"00-{trace_of(name)}-[0-9a-f]{{16}}-{flags}", headers.get("traceparent", "")), f"{record}")
        # An intent keeps the trace and not its state: what follows from an answer is without.
        check(headers.get("tracestate", "shop=1,x@y=z") == "shop=1,x@y=z", f"{record}")


# ---- checking

def check_span(span):
    what = f"{span}"
    check(re.fullmatch("[0-9a-f]{32}", span["trace"]) and re.fullmatch("[0-9a-f]{16}", span["id"]), what)
    check(span["start"] <= span["end"] and span["flags"] & 1 and span["flags"] & 0x100, what)
    check(bool(span["flags"] & 0x200) == (span["kind"] in ("SERVER", "CONSUMER")), what)
    resource, seen = span["resource"], span["attributes"]
    check(resource["service.name"] == "the-shop" and resource["deployment.environment.name"] == "test, too", what)
    if span["kind"] == "SERVER":
        check(span["name"] == f"{seen['http.request.method']} {seen['http.route']}", what)
        check(seen["url.scheme"] == "http" and seen["http.response.status_code"] < 500, what)
    elif span["kind"] in ("CONSUMER", "PRODUCER"):
        verb = seen["messaging.operation.name"]
        check(span["name"] == f"{verb} {seen['messaging.destination.name']}", what)
        check(seen["messaging.system"] == "kafka" and int(seen["messaging.destination.partition.id"]) in range(4), what)
        check(verb == "decide" or seen["messaging.kafka.offset"] >= 0, what)
        check(seen["messaging.operation.type"] == ("send" if verb == "send" else "process"), what)
    elif span["name"].startswith("mail "):
        check(span["kind"] == "CLIENT" and span["name"] == f"mail {seen['orderlog.notice.template']}", what)
    elif span["kind"] == "CLIENT":
        check(span["name"] == f"{seen['http.request.method']} {seen['url.template']}", what)
        check(seen["server.address"] == "127.0.0.1" and seen["http.response.status_code"] == 200, what)
    else:
        check(span["kind"] == "INTERNAL" and span["name"] in ("decide timer", "decide answer"), what)


def check_trace(spans, given):
    """Each span but the first has its parent in the trace, and began after it. `given`: the spans of the requests that
    began it; without, there is one root."""
    by_id = {span["id"]: span for span in spans}
    check(len(by_id) == len(spans), f"span ids come twice: {spans}")
    roots = [span for span in spans if span["parent"] in (given, "")]
    check(len(roots) == 1 or given, f"roots: {roots}")
    check(all(span["kind"] == "SERVER" or span["name"] == "decide timer" for span in roots), f"roots: {roots}")
    for span in spans:
        if span in roots:
            check(not given or span["parent"] == given, f"{span} has no parent")
            continue
        check(span["parent"] in by_id, f"{span} has no parent in its trace")
        check(by_id[span["parent"]]["start"] <= span["start"], f"{span} began before {by_id[span['parent']]}")


def check_order(name, spans):
    """All who had a part in it were heard."""
    with open(f"{FOLDER}/order-{name}", encoding="utf-8") as file:
        order_id = file.read()
    found = collections.defaultdict(set)
    for span in spans:
        verb = span["name"].split(" ")[0]
        group = span["attributes"].get("messaging.consumer.group.name")
        found[verb].add(group or span["name"])
        check(span["attributes"].get("orderlog.order_id", order_id) == order_id, f"{span} is about another order")
    check(DECIDERS <= found["decide"] and "decide answer" in found["decide"], f"deciders: {found['decide']}")
    check({"redis-view-orders", "postgres-view-orders"} <= found["project"], f"projectors: {found['project']}")
    check({"send shop.cart.events.v1", "send shop.order.events.v1", "send shop.payment.events.v1",
           "send shop.fulfilment.requests.v1"} <= found["send"], f"sent: {found['send']}")
    check({"POST /v1/checkouts", "POST /v1/fulfilments/{order_id}/pick", "POST /v1/payment_intents",
           "POST /v1/payment_intents/{intent}/capture"} <= found["POST"], f"called: {found['POST']}")
    # The chain of one thing: the capture, back to the parcel that was dispatched.
    by_id = {span["id"]: span for span in spans}
    chain = [next(span for span in spans if span["name"].endswith("/capture"))]
    while chain[-1]["parent"] in by_id:
        chain.append(by_id[chain[-1]["parent"]])
    names = [span["name"] for span in chain]
    check(names[-1] == "POST /v1/fulfilments/{order_id}/dispatch" and len(names) >= 4, f"the capture's chain: {names}")
    # The mail server puts off some.
    check(not any(span["failed"] and not span["name"].startswith("mail ") for span in spans), "a span failed")
    print(f"{name}: {len(spans)} spans; the capture came by {' < '.join(names)}")


def check_all(names):
    traces = collections.defaultdict(list)
    for span in told():
        check_span(span)
        traces[span["trace"]].append(span)
    given = {trace_of(name): parent_of(name) for name in names}
    # Of what was to be told while nobody took it, or shortly before, any part may be missing.
    away_from, away_to = (int(text) for text in os.environ["TRACES_AWAY"].split())
    for trace, spans in traces.items():
        if trace in given or not any(away_from - MARGIN_NS <= span["start"] <= away_to for span in spans):
            check_trace(spans, given.get(trace))
    for name in names:
        if name.endswith("unsampled"):
            check(trace_of(name) not in traces, f"{name} was told of")
        else:
            check_order(name, traces[trace_of(name)])
    routes = {span["attributes"].get("http.route") for spans in traces.values() for span in spans}
    check(not routes & {"/livez", "/readyz", "/metrics"}, f"probes were told of: {routes}")
    print(f"{len(traces)} traces, {sum(map(len, traces.values()))} spans")


def main():
    what, names = sys.argv[1], sys.argv[2:]
    if what == "sell":
        sell(names)
    elif what == "await":
        until(names[0], lambda: MAILS <= {span["name"] for span in told()
                                         if span["trace"] == trace_of(names[0]) and not span["failed"]} or None)
    else:
        check_all(names)


if __name__ == "__main__":
    main()
