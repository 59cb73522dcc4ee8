"""Which topics the code reads and writes."""
import re

from environment import ROOT

# Which files of core/domain are whose.
DECIDERS = {"Checkout": ("checkout",), "Orders": ("orders",), "Inventory": ("inventory", "stock"), "Payments": ("payments",),
            "Fulfilment": ("fulfilment",)}


def topic_names():
    """TOPIC_ORDER_EVENTS -> shop.order.events.v1"""
    names = [path.stem for path in (ROOT / "schemas").glob("*.avsc")]
    return {"TOPIC_" + name.removeprefix("shop.").removesuffix(".v1").replace(".", "_").upper(): name for name in names}


def code(pattern):
    return "".join(re.sub(r"#include.*", "", path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob(pattern)))


def topics_of(text):
    names = topic_names()
    return {names[word] for word in re.findall(r"\bTOPIC_[A-Z_]+\b", text) if word in names}


def decider_code(decider):
    if decider == "notifier":
        return code("core/domain/notices.c")
    return "".join(code(f"core/domain/{prefix}{rest}.c") for prefix in DECIDERS[decider.title()] for rest in ("", "_*"))


INPUTS = r"inputs(?:\[\]\s*=|\s*=\s*\(const char \*const\[\]\))\s*\{[^}]*\}"


def inputs(decider):
    return topics_of("".join(re.findall(INPUTS, decider_code(decider))))


def outputs(decider):
    return topics_of(re.sub(INPUTS, "", decider_code(decider)))


def view_topics(view):
    return topics_of("".join(re.findall(rf"{view[:-1]}_topics\[\] = \{{([^}}]*)\}}", code("projections/view.c"))))


def commands():
    return topics_of(code("producers/commands.c"))


def dead_letters(topic):
    """producers/topics.c: which topics have one."""
    return topic.endswith(".requests.v1") or topic in ("shop.cart.events.v1", "shop.order.events.v1", "shop.reservation.events.v1",
                                                       "shop.payment.events.v1", "shop.fulfilment.events.v1")
