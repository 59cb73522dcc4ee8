#!/usr/bin/env python3
"""Can today's schema read what an earlier one wrote? compat.py OLD.avsc NEW.avsc

Old events decode forever, so the answer has to be yes for every version that was ever released. The rules are those
of Avro's schema resolution, narrowed to what the codec does: nothing is promoted (int to long, string to bytes,
a value to an optional one), because the codec decodes each kind as itself. Prints what breaks; exits 1 if anything does.
"""
import dataclasses
import pathlib
import sys

import subset


@dataclasses.dataclass
class Break:
    path: str  # shop.order.v1.OrderPlaced.lines[].sku
    reason: str
    record: str = ""  # the union's record that is gone, when that is what breaks

    def __str__(self):
        return f"{self.path}: {self.reason}"


def kind_name(type_):
    return type_.name or type_.logical or (f"optional {kind_name(type_.item)}" if type_.kind == "option" else type_.kind)


def breaks_of_record(old, new, path):
    written = {field.name: field for field in old.fields}
    for field in new.fields:
        where = f"{path}.{field.name}"
        if field.name in written:
            yield from breaks_of_type(written[field.name].type, field.type, where)
        elif field.default is None:
            yield Break(where, "is new and has no default: what was written without it cannot be read")


def breaks_of_type(old, new, path):
    if (old.kind, old.logical, old.name) != (new.kind, new.logical, new.name):
        yield Break(path, f"was {kind_name(old)}, is {kind_name(new)}")
    elif old.kind == "record":
        yield from breaks_of_record(old, new, path)
    elif old.kind == "enum":
        for symbol in old.symbols:
            if symbol not in new.symbols:
                yield Break(path, f"{symbol} is gone: what was written with it cannot be read")
    elif old.kind in ("array", "option"):
        yield from breaks_of_type(old.item, new.item, path + ("[]" if old.kind == "array" else ""))


def breaks(old, new):
    """What keeps a reader with the union `new` from reading all that was written with `old`; both are parsed branches."""
    known = {branch.name: branch for branch in new}
    found = []
    for branch in old:
        if branch.name in known:
            found += breaks_of_type(branch, known[branch.name], branch.name)
        else:
            found.append(Break(branch.name, "is gone: what was written as it cannot be read", branch.name))
    return found


def main(old, new):
    try:
        found = breaks(*(subset.read_version(pathlib.Path(path), 0).branches for path in (old, new)))
    except subset.SchemaError as error:
        sys.exit(f"compat: {error}")
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
