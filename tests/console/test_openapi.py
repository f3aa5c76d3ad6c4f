"""The OpenAPI document: requests made from it, good and bad, and what comes back is what it says."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redirectd.console.api import ENDPOINTS, PREFIX
from redirectd.console.openapi import openapi
from redirectd.store.tokens import Role
from tests.console.conftest import Site

DOCUMENT = openapi()
OPERATIONS = [(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods]
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.lists(st.text()))


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference names, else itself."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = DOCUMENT["components"]["schemas"][name] if name else schema
    return found


def fits(value: object, schema: dict[str, Any]) -> bool:
    """Whether a value is what a schema says: the keywords that the document uses."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    kinds = {"string": str, "integer": int, "boolean": bool, "array": list, "object": dict, "null": type(None)}
    kind = schema.get("type")
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind and (not isinstance(value, kinds[kind]) or (kind == "integer" and isinstance(value, bool))):
        return False
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        is_whole = set(schema.get("required", [])) <= value.keys()
        known = all(fits(value[name], one) for name, one in properties.items() if name in value)
        more = schema.get("additionalProperties")
        rest = all(fits(value[name], more) for name in value.keys() - properties) if isinstance(more, dict) else True
        return is_whole and known and rest
    if isinstance(value, list):
        return all(fits(one, schema.get("items", {})) for one in value)
    return value in schema["enum"] if "enum" in schema else True


def made(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema describes."""
    schema = resolved(schema)
    if "anyOf" in schema:
        return st.one_of([made(one) for one in schema["anyOf"]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "integer":
            return st.integers(schema.get("minimum", -(2**70)), schema.get("maximum", 2**70)) | st.integers(1, 5)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(made(schema["items"]), min_size=schema.get("minItems", 0), max_size=4)
        case "object":
            keys = schema.get("properties", {})
            needed = {name: made(keys[name]) for name in schema.get("required", [])}
            return st.fixed_dictionaries(
                needed, optional={name: made(one) for name, one in keys.items() if name not in needed}
            )
        case _:
            pattern = schema.get("pattern")
            text = st.text(max_size=min(schema.get("maxLength", 40), 40))
            return st.from_regex(pattern, fullmatch=True) if pattern else text


def test_the_document_names_every_endpoint() -> None:
    """Every endpoint is there, and every reference leads to a schema."""
    assert {(one.path, one.method.lower()) for one in ENDPOINTS} == set(OPERATIONS)
    text = json.dumps(DOCUMENT)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= DOCUMENT["components"]["schemas"].keys()


def test_operations_have_names_of_their_own() -> None:
    """Generated clients need an operationId each."""
    names = [DOCUMENT["paths"][path][method]["operationId"] for path, method in OPERATIONS]
    assert len(set(names)) == len(names)


def test_anybody_may_read_it(site: Site) -> None:
    """The document is served without a token."""
    assert site.call("GET", f"{PREFIX}/openapi.json").json == DOCUMENT


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_replies_are_what_the_document_says(site: Site, path: str, method: str, data: st.DataObject) -> None:
    """Requests made from the document, also with a part that is not, get its reply or a problem, never a defect."""
    operation = DOCUMENT["paths"][path][method]
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    name = ""
    is_broken = data.draw(st.booleans())
    for one in operation["parameters"]:
        value = data.draw(JUNK if is_broken and data.draw(st.booleans()) else made(one["schema"]))
        if one["in"] == "path":
            name = str(value)
        elif one["in"] == "header":
            headers[one["name"]] = f'"{site.version(1)}"' if data.draw(st.booleans()) else str(value)
        elif value is not None:
            query += [(one["name"], str(each)) for each in (value if isinstance(value, list) else [value])]
    body: object = b""
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        body = data.draw(JUNK if is_broken and data.draw(st.booleans()) else made(schema))
    where = PREFIX + path.replace("{name}", name)
    asked = urlencode([(key, value.encode("utf-8", "surrogatepass")) for key, value in query])
    headers = {key: value for key, value in headers.items() if "\n" not in value}
    token = data.draw(st.sampled_from(list(Role)).map(site.token))
    answer = site.call(method.upper(), f"{where.replace('?', '')}?{asked}", token=token, headers=headers, body=body)
    assert answer.status != 500
    kind = "200" if answer.status == 200 else "default"
    for media, content in operation["responses"][kind]["content"].items():
        assert answer.headers["content-type"] == media
        assert fits(answer.json, content["schema"])
