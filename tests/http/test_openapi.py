#!/usr/bin/env python3
"""openapi.yaml and the program say the same: every route of api/routes.c is described and no other, each problem that is
named exists, what is referred to is there, and nothing is described that nobody refers to. Standard library only, so it
reads the file by its layout (two spaces a level), which it checks as it goes."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
text = (root / "api/openapi.yaml").read_text()
routes_c = (root / "api/routes.c").read_text()
err_h = (root / "core/base/err.h").read_text()
methods = {"get", "put", "post", "delete", "patch", "head", "options", "trace"}
failures = []


def check(ok, message):
    if not ok:
        failures.append(message)


def section(name):
    """The lines below a top-level key."""
    found = re.search(rf"^{name}:\n((?: .*\n|\n)*)", text, re.M)
    check(found, f"there is no {name}")
    return found.group(1).splitlines() if found else []


def documented():
    found, path = {}, None
    for line in section("paths"):
        if match := re.match(r"  (/[^:]*):$", line):
            path = match.group(1)
        elif match := re.match(r"    (\w+):", line):
            if match.group(1) in methods:
                found[(match.group(1).upper(), path)] = None
                last = (match.group(1).upper(), path)
            else:
                check(match.group(1) == "parameters", f"{path}: {match.group(1)} is not known here")
        elif match := re.match(r"      operationId: (\w+)$", line):
            found[last] = match.group(1)
    return found


def served():
    row = re.compile(r'\{METHOD_(\w+),\s*"([^"]+)", ACCESS_\w+, [^,]+, (\w+), (?:NULL|"([^"]*)")\}')
    found = {(m[0], m[1]): (m[2], m[3]) for m in row.findall(routes_c)}
    check(len(found) == routes_c.count("{METHOD_"), "a row of api/routes.c could not be read")
    return found


described, table = documented(), served()
check(len(table) > 20, "api/routes.c has few routes")
for route in sorted(table.keys() - described.keys()):
    check(False, f"{route} is served but not described")
for route in sorted(described.keys() - table.keys()):
    check(False, f"{route} is described but not served")
for route in sorted(table.keys() & described.keys()):
    check(described[route] == table[route][0], f"{route}: operationId {described[route]}, handler {table[route][0]}")

operations = re.split(r"\n    (?=get:|put:|post:|delete:|patch:)", "\n".join(section("paths")))
for operation in operations[1:]:
    name = re.search(r"operationId: (\w+)", operation).group(1)
    query = next(q for h, q in table.values() if h == name)
    given = set(re.findall(r"\{name: (\w+), in: query", operation))
    given |= set(re.findall(r"- name: (\w+)\n\s+in: query", operation))
    given |= {"limit"} if "parameters/Limit" in operation else set()
    check(given == set(query.split()), f"{name}: query parameters {sorted(given)}, read are {sorted(query.split())}")
    path = next(p for (_, p), (h, _) in table.items() if h == name)
    required = "parameters/IdempotencyKey" in operation
    row = next(line for line in routes_c.splitlines() if f", {name}," in line)
    check(required == ("POST_FIELDS" in row or "POST_BARE" in row), f"{name}: is the Idempotency-Key required or not?")
    check(("ROUTE_BODY" in row or "POST_FIELDS" in row) == ("required: true\n        content" in operation),
          f"{name}: is a body required or not?")
    access = re.search(r"ACCESS_(\w+)", row).group(1)
    security = re.search(r"\n      security: (.*)", operation)
    want = {"PUBLIC": "[]", "SHOPPER": None, "OPERATOR": "[{operator: []}]", "ANYONE": "[{shopper: []}, {operator: []}]"}
    check((security and security.group(1)) == want[access], f"{name}: security is not that of {access}")

slugs = set(re.findall(r'X\(\w+, (?:4|5)\d\d, "([a-z-]+)"', err_h))
for slug in re.findall(r"^        - /problems/([a-z-]+)$", text, re.M):
    check(slug in slugs, f"/problems/{slug} is no kind of error")

components, kind = set(), None
for line in section("components"):
    if match := re.match(r"  (\w+):$", line):
        kind = match.group(1)
    elif match := re.match(r"    (\w+):", line):
        components.add(f"{kind}/{match.group(1)}")
references = set(re.findall(r"#/components/(\w+/\w+)", text))
check(not references - components, f"not there: {sorted(references - components)}")
unused = {c for c in components - references if not c.startswith("securitySchemes/")}
check(not unused, f"nobody refers to {sorted(unused)}")
version = re.search(r"project\(orderlog VERSION ([\d.]+)", (root / "CMakeLists.txt").read_text()).group(1)
check(f"\n  version: {version}\n" in text, f"the version is not the program's, {version}")
check("\t" not in text and text.startswith("openapi: 3.1.0\n"), "the file does not begin as OpenAPI 3.1, or holds tabs")

try:
    import yaml
except ImportError:
    yaml = None
if yaml:
    # YAML 1.1 reads some words as dates or booleans; the structure is what counts here.
    loaded = yaml.safe_load(text)
    check(sum(len(methods & p.keys()) for p in loaded["paths"].values()) == len(table), "read as YAML, routes differ")

for failure in failures:
    print(f"openapi.yaml: {failure}", file=sys.stderr)
print(f"{len(described)} routes, {len(components)} components, {len(failures)} failures")
sys.exit(1 if failures else 0)
