"""check_notices.py settled|check EVENTS MAILS: whether each event that a shopper is to hear of has its one answer of the
notifier (settled), and whether those answers and the mails are what they must be (check)."""
import collections
import json
import sys

TEMPLATES = {"OrderConfirmed": "order-confirmed", "OrderRejected": "order-refused", "OrderShipped": "order-shipped",
             "OrderDelivered": "order-delivered", "OrderCancelled": "order-cancelled", "OrderExpired": "order-cancelled",
             "PaymentRefunded": "order-refunded"}
SUBJECTS = {"order-confirmed": "is confirmed", "order-refused": "could not be taken", "order-shipped": "is on its way",
            "order-delivered": "was delivered", "order-cancelled": "was cancelled", "order-refunded": "was refunded"}
KILLS, AT_ONCE = 2, 4


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main():
    events = lines(sys.argv[2])
    kind = lambda e: e["type"].rsplit(".", 1)[1]
    placed = {e["key"]: e["event"] for e in events if kind(e) == "OrderPlaced"}
    due = {(e["key"], TEMPLATES[kind(e)], e["headers"]["ce_id"]) for e in events if kind(e) in TEMPLATES}
    told = [(kind(e), (e["key"], e["event"]["template"], e["event"]["cause"])) for e in events
            if e["topic"] == "shop.notification.events.v1"]
    if sys.argv[1] == "settled":
        print(len(told), "of", len(due))
        sys.exit(len(told) < len(due))
    assert len(told) == len({notice for _, notice in told}), "a notice was answered for twice"
    assert {notice for _, notice in told} == due
    counts = collections.Counter(outcome for outcome, _ in told)
    print(counts)
    assert set(counts) <= {"NotificationSent", "NotificationSuppressed"}, counts
    for outcome, (order, _, _) in told:
        assert (outcome == "NotificationSent") == (order in placed), (outcome, order)
    mails = lines(sys.argv[3])
    by_id = collections.defaultdict(list)
    for mail in mails:
        by_id[mail["headers"]["Message-ID"]].append(mail)
    assert len(by_id) == counts["NotificationSent"], (len(by_id), counts)
    # What was handed over in the moment of a crash is handed over again, as the same message: nobody can know.
    assert len(mails) - len(by_id) <= KILLS * AT_ONCE, (len(mails), len(by_id))
    wanted = collections.Counter((notice[0][:8], SUBJECTS[notice[1]]) for outcome, notice in told if outcome == "NotificationSent")
    found = collections.Counter()
    for same in by_id.values():
        mail = same[0]
        for other in same[1:]:
            assert (other["to"], other["text"], other["html"]) == (mail["to"], mail["text"], mail["html"])
        assert not mail["defects"] and mail["line_max"] <= 998, mail
        assert mail["to"][0].startswith("household-") and mail["from"] == "orders@shop.example", mail
        assert mail["headers"]["From"] == '"Corner Shop" <orders@shop.example>' or \
            mail["headers"]["From"] == "Corner Shop <orders@shop.example>", mail["headers"]
        begin, middle = "Corner Shop: your order ", mail["headers"]["Subject"]
        assert middle.startswith(begin), middle
        found[(middle[len(begin):len(begin) + 8], middle[len(begin) + 9:])] += 1
        order = placed[mail["text"].rsplit("\nOrder ", 1)[1][:36]]
        if "Total:" in mail["text"]:
            total = order["totals"]["total"]["minor"]
            assert f"  Total: ${total // 100:,}.{total % 100:02}\n" in mail["text"], mail["text"]
            assert mail["html"].count("<tr>") >= len(order["lines"]) + 1
    assert found == wanted, (found - wanted, wanted - found)


main()
