#!/usr/bin/env python3
"""Every line that the program logs: an event's name that stays, fields with names of their own, and a format that the
writer of core/base/logging.c reads as it is meant. So that each line is one JSON object, whatever its values hold."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CALL = re.compile(r"\blogging_(write|err)\(")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
CONVERSION = re.compile(r"%[-+ #0-9.*]*(hh|h|ll|l|z|j|t)?(.)")
RESERVED = {"ts", "level", "event", "kind", "error", "text"}


def arguments(source, start):
    """The texts of a call's arguments, from behind its bracket."""
    depth, begin, found, i = 0, start, [], start
    while depth >= 0:
        char = source[i]
        if char == '"':
            i = STRING.match(source, i).end()
            continue
        depth += (char in "([{") - (char in ")]}")
        if depth < 0 or (char == "," and depth == 0):
            found.append(source[begin:i].strip())
            begin = i + 1
        i += 1
    return found


def literal(text):
    """The text of one string, of several side by side, or of macros such as PRId64 between them; None if it is none."""
    rest = STRING.sub("", text)
    if re.sub(r"\bPRI[duxX]64\b", "", rest).strip():
        return None
    text = re.sub(r"\bPRI([duxX])64\b", r'"l\1"', text)
    return "".join(part.replace('\\"', '"') for part in STRING.findall(text))


def fields(form):
    """Names, with what is left of the format when they are taken out."""
    rest, names = form, []
    while rest := rest.lstrip(" "):
        match = re.match(r'([A-Za-z0-9_.]+)=("[^"]*"|[^ "]*)(?= |$)', rest)
        if not match:
            return names, rest
        names.append(match.group(1))
        rest = rest[match.end():]
    return names, ""


def complaints(event, form):
    if event is None or form is None:
        yield "the event and the format must be literal"
        return
    if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", event):
        yield f"'{event}' is no event's name: area.what_happened"
    names, rest = fields(form)
    if rest:
        yield f"these are no fields: {rest}"
    for name in names:
        if name in RESERVED:
            yield f"{name}= is a field of every line"
        if names.count(name) > 1:
            yield f"{name}= is there twice"
    for _, kind in CONVERSION.findall(form):
        if kind not in "diuxXcsefg%":
            yield f"%{kind} is not known to core/base/logging.c"


def main():
    wrong, count = [], 0
    for path in sorted(path for folder in ("api", "cli", "consumers", "core", "producers", "projections")
                       for path in (ROOT / folder).rglob("*.c")):
        if path.name == "logging.c":
            continue
        source = path.read_text(encoding="utf-8")
        for call in CALL.finditer(source):
            count += 1
            given = arguments(source, call.end())
            line = source.count("\n", 0, call.start()) + 1
            if len(given) < 3:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: too few arguments")
                continue
            event = "x.x" if re.fullmatch(r"event", given[1]) else literal(given[1])  # handed on by a function
            wrong += [f"{path.relative_to(ROOT)}:{line}: {why}" for why in complaints(event, literal(given[2]))]
    if count < 40:
        wrong.append(f"only {count} calls were found")
    print("\n".join(wrong) or f"{count} calls")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
