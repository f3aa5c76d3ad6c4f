"""The OpenAPI document, made of the endpoints and of the models that requests are read by and replies are typed by."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from redirectd import __version__
from redirectd.console.api import ENDPOINTS, PREFIX, Endpoint


def openapi() -> dict[str, Any]:
    """The OpenAPI 3.1 document, from the same models that requests are read by and replies are typed by."""
    parts: dict[str, Any] = {"Problem": _PROBLEM}
    paths: dict[str, dict[str, Any]] = {}
    for one in ENDPOINTS:
        operation: dict[str, Any] = {
            "operationId": f"{one.method.lower()}{one.path.replace('/{name}', '').title().replace('/', '')}"
            + ("One" if "{name}" in one.path and one.method == "GET" else ""),
            "summary": one.text,
            "description": f"For {one.role.value}s and those who may more.",
            "parameters": _parameters(one, parts),
            "responses": {
                "200": {"description": "Done.", "content": _content(one.reply, parts)},
                "default": {
                    "description": "Refused: where, why and what to do.",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        }
        if one.body is not None:
            operation["requestBody"] = {"required": True, "content": _content(one.body, parts)}
        paths.setdefault(one.path, {})[one.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "redirectd", "version": __version__},
        "servers": [{"url": PREFIX}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(parts.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


_PROBLEM = {
    "type": "object",
    "description": "An error: where, why and what to do (RFC 9457).",
    "properties": {
        **{name: {"type": "string"} for name in ("type", "title", "detail", "where", "why", "what_to_do")},
        "status": {"type": "integer"},
        "contradicts": {"type": "array", "items": {"type": "integer"}},
    },
    "required": ["type", "title", "status", "detail", "where", "why", "what_to_do"],
}


def _schema(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a model or a typed dict
    found: dict[str, Any] = TypeAdapter(kind).json_schema(ref_template="#/components/schemas/{model}")
    parts.update(found.pop("$defs", {}))
    if kind is dict:
        return {"type": "object"}
    name = found.get("title", kind.__name__)
    parts[name] = found
    return {"$ref": f"#/components/schemas/{name}"}


def _content(kind: Any, parts: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - a model or a typed dict
    return {"application/json": {"schema": _schema(kind, parts)}}


def _parameters(one: Endpoint, parts: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{name}" in one.path:
        text = {"type": "string"} if one.path.startswith("/undo") else {"type": "integer", "minimum": 1}
        found.append({"name": "name", "in": "path", "required": True, "schema": text})
    if one.is_checked:
        about = "The remap's `version` as it was looked at, in quotes."
        schema = {"type": "string", "pattern": '^"[0-9a-f]{32}"$'}
        found.append({"name": "If-Match", "in": "header", "required": True, "schema": schema, "description": about})
    if one.query is not None:
        asked: dict[str, Any] = TypeAdapter(one.query).json_schema(ref_template="#/components/schemas/{model}")
        parts.update(asked.pop("$defs", {}))
        for name, value in asked["properties"].items():
            kept = {key: value[key] for key in value if key not in {"description", "title"}}
            found.append({"name": name, "in": "query", "schema": kept, "description": value.get("description", "")})
    return found
