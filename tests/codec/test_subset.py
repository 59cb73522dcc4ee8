#!/usr/bin/env python3
"""What is not in the subset of Avro is refused when the code is generated, with the file, the record and the reason."""
import json
import pathlib
import tempfile
import unittest

import setting  # noqa: F401, which finds schemas/
import avrogen
import subset


def thing(*fields, **more):
    return {"type": "record", "name": "Thing", "namespace": "shop.test.v1", "fields": list(fields), **more}


def of(type_, **more):
    """A union of one record with one field."""
    return [thing({"name": "a", "type": type_, **more})]


NOTHING = {"type": "record", "name": "Nothing", "fields": []}
ENUM = {"type": "enum", "name": "E", "symbols": ["x", "y"]}
REFUSED = [
    ({}, "must be a JSON array"),
    ([], "must be a JSON array"),
    (["string"], "must be a JSON array of records"),
    ([{**ENUM, "namespace": "n"}], "must be a JSON array of records"),
    ([{**thing(), "name": f"T{i}"} for i in range(65)], "1 to 64"),
    ([thing(), thing()], "is defined twice"),
    ([{"type": "record", "name": "Thing", "fields": []}], "in no namespace"),
    ([{"type": "record", "name": "Thing", "namespace": "n"}], "lacks its 'fields'"),
    ([thing(aliases=["Thung"])], "aliases of record"),
    ([thing(name="no-name")], "'no-name' is not a name"),
    ([thing(name=7)], "7 is not a name"),
    (of("float"), "float is not known"),
    (of("null"), "null is not known"),
    (of("Unknown"), "Unknown is not known"),
    (of({"type": "fixed", "name": "F", "size": 4}), "fixed is not in the subset"),
    (of({"type": "map", "values": "long"}), "map is not in the subset"),
    (of({"type": {"type": "string"}}), "is not in the subset"),
    (of(7), "7 is not in the subset"),
    (of({"type": "bytes", "logicalType": "decimal", "precision": 4}), "precision of bytes"),
    (of({"type": "string", "logicalType": "timestamp-micros"}), "timestamp-micros of string"),
    (of({"type": "long", "logicalType": "timestamp-millis"}), "timestamp-millis of long"),
    (of(["string", "null"]), 'must be ["null", type]'),
    (of(["null", "string", "long"]), 'must be ["null", type]'),
    (of(["null", {"type": "array", "items": "long"}]), "an optional array"),
    (of(["null", ["null", "long"]]), "an optional option"),
    (of({"type": "array", "items": {"type": "array", "items": "long"}}), "an array of arrays"),
    (of({"type": "array", "items": ["null", "long"]}), "an array of option"),
    (of({"type": "array", "items": NOTHING}), "takes no bytes"),
    (of({"type": "array", "items": {"type": "record", "name": "N", "fields": [{"name": "n", "type": NOTHING}]}}), "no bytes"),
    (of(["null", "Thing"]), "shop.test.v1.Thing is part of itself"),
    (of({"type": "array", "items": "Thing"}), "shop.test.v1.Thing is part of itself"),
    (of({**ENUM, "symbols": ["x", "x"]}), "there twice"),
    (of({**ENUM, "symbols": ["1x"]}), "'1x' is not a name"),
    (of({**ENUM, "default": "x"}), "default of enum"),
    ([thing({"name": "a", "type": "long"}, {"name": "a", "type": "long"})], "there twice"),
    (of("long", aliases=["b"]), "a: aliases is not in the subset"),
    (of("long", default="1"), "no default for long"),
    (of("long", default=True), "no default for long"),
    (of("long", default=2**63), "no default for long"),
    (of("int", default=2**31), "no default for int"),
    (of("boolean", default=1), "no default for boolean"),
    (of("string", default=None), "no default for string"),
    (of("string", default="\ud800"), "no default for string"),
    (of("bytes", default="\u0100"), "no default for bytes"),
    (of(ENUM, default="z"), "no default for enum"),
    (of(["null", "long"], default=1), "no default for option"),
    (of({"type": "array", "items": "long"}, default=[1]), "no default for array"),
    (of(NOTHING, default={}), "no default for record"),
]


class Subset(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)

    def generate(self, **trees):
        """shop_a_v1=[…] is the subject shop.a.v1"""
        names = {key.replace("_", "."): tree for key, tree in trees.items()}
        for name, tree in names.items():
            (self.folder / f"{name}.avsc").write_text(json.dumps(tree))
        (self.folder / "ids.json").write_text(json.dumps({name: [i + 1] for i, name in enumerate(names)}))
        avrogen.main(self.folder, self.folder / "gen")
        return (self.folder / "gen/types.h").read_text()

    def refuse(self, because, **trees):
        with self.assertRaises(subset.SchemaError) as refused:
            self.generate(**trees)
        self.assertIn(because, str(refused.exception))

    def test_refused(self):
        for tree, because in REFUSED:
            with self.subTest(tree=tree):
                self.refuse(because, shop_a_v1=tree)
                self.refuse("shop.a.v1.avsc", shop_a_v1=tree)

    def test_not_json(self):
        (self.folder / "shop.a.v1.avsc").write_text("[")
        (self.folder / "ids.json").write_text('{"shop.a.v1": [1]}')
        with self.assertRaises(subset.SchemaError):
            avrogen.main(self.folder, self.folder / "gen")

    def test_a_shared_type_is_the_same_in_each_file(self):
        other = {**thing({"name": "b", "type": {**ENUM, "symbols": ["x"]}}), "name": "Other"}
        self.refuse("shop.test.v1.E is defined differently", shop_a_v1=of(ENUM), shop_b_v1=[other])
        other["fields"][0]["type"] = {**ENUM, "doc": "the same, explained"}
        self.generate(shop_a_v1=of(ENUM), shop_b_v1=[other])

    def test_names_of_c_are_unique(self):
        other = {**thing(), "namespace": "shop.test.v2"}
        self.refuse("share a C name: test_thing", shop_a_v1=[thing()], shop_b_v1=[other])

    def test_names_of_c(self):
        header = self.generate(shop_order_events_v1=[
            {"type": "record", "name": name, "namespace": "shop.order.v1", "fields": []} for name in ("OrderPlaced", "Shipped")])
        self.assertIn('#define TOPIC_ORDER_EVENTS "shop.order.events.v1"', header)
        self.assertIn("struct order_placed {", header)
        self.assertIn("struct order_shipped {", header)
        self.assertIn("    MESSAGE_UNKNOWN,\n    MESSAGE_ORDER_PLACED,\n    MESSAGE_ORDER_SHIPPED,\n", header)


if __name__ == "__main__":
    unittest.main()
