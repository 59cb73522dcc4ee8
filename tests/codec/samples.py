"""Values of a parsed schema (schemas/subset.py) as fastavro takes them: every alternative of every field is in one of them."""
import io


def samples(type_):
    if type_.kind == "option":
        return [None, *samples(type_.item)]
    if type_.kind == "array":
        return [[], samples(type_.item)]
    if type_.kind == "enum":
        return list(type_.symbols)
    if type_.kind == "record":
        fields = {field.name: samples(field.type) for field in type_.fields}
        count = max(map(len, fields.values()), default=1)
        return [{name: values[i % len(values)] for name, values in fields.items()} for i in range(count)]
    if type_.logical == "uuid":
        return ["00000000-0000-4000-8000-000000000001", "ffffffff-ffff-4fff-bfff-fffffffffffe"]
    return {"boolean": [True, False], "int": [0, -2**31, 2**31 - 1], "long": [1, 0, 4102444799999999],
            "string": ["", "grün", "a" * 70], "bytes": [b"", b"\x00\xff"]}[type_.kind]


def write(fastavro, schema, branch, value):
    """The union's bytes, `schema` being what fastavro.parse_schema made of it."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, schema, (branch.name, value))
    return stream.getvalue()
