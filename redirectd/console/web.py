"""The web application: what every request passes before and after its endpoint."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from functools import cache
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from redirectd.console.access import Access, DeniedError, read_body
from redirectd.console.api import ENDPOINTS, PREFIX, ApiCall, Endpoint, problem
from redirectd.console.api_models import read_model
from redirectd.console.desk import Desk
from redirectd.console.openapi import openapi
from redirectd.console.page_routes import PageSet, error_response, page_routes
from redirectd.console.sign_in import SignIn
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable

_log = structlog.get_logger("redirectd.console")

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


def application(desk: Desk, sign_in: SignIn, page_set: PageSet) -> ASGIApp:
    """The whole application."""
    access = sign_in.access
    routes: list[BaseRoute] = [
        Route(f"{PREFIX}/openapi.json", _document, methods=["GET"]),
        *(Route(f"{PREFIX}{path}", _ApiRoute(desk, access, path), methods=None) for path in _paths()),
        *page_routes(desk, sign_in, page_set),
    ]

    def show(request: Request, error: Exception) -> Response:
        return _shown(request, _as_error(error), page_set)

    inner = Starlette(
        routes=routes,
        exception_handlers={RedirectdError: show, HTTPException: show, Exception: show},
    )
    inner.router.redirect_slashes = False  # behind a proxy it would lead from https to http
    return _Guard(inner, access, page_set)


def _shown(request: Request, error: RedirectdError, page_set: PageSet) -> Response:
    """An error as whoever asks reads it: a program or a person."""
    if request.scope["path"].startswith("/api/"):
        return problem_response(error)
    return error_response(request, error, None, page_set)


class _ApiRoute:
    """The endpoints of one path, as an ASGI application: other methods are answered with those there are."""

    def __init__(self, desk: Desk, access: Access, path: str) -> None:
        self._desk, self._access = desk, access
        self._by_method = {one.method: one for one in ENDPOINTS if one.path == path}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except RedirectdError as error:
            response = problem_response(error)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        endpoint = self._by_method.get(method)
        if endpoint is None:
            allowed = ", ".join(sorted(self._by_method))
            response = problem_response(
                DeniedError(405, f"it has no method {printable(request.method, 20)}", f"use {allowed}")
            )
            response.headers["allow"] = allowed
            return response
        body = await read_body(request)
        return await run_in_threadpool(self._run, request, endpoint, body)

    def _run(self, request: Request, endpoint: Endpoint, body: bytes) -> Response:
        visitor = self._access.by_token(request)
        if not visitor.may(endpoint.role):
            why = f"it is for the role {endpoint.role.value}, and this token has {visitor.role.value}"
            raise DeniedError(403, why, "use another token")
        if endpoint.body is None and body:
            raise UsageError("body", "this takes no body", "leave it out")
        call = ApiCall(
            self._desk,
            visitor,
            str(request.path_params.get("name", "")),
            read_model(endpoint.query, _asked(request, endpoint), "query", is_text=True) if endpoint.query else None,
            read_model(endpoint.body, _json(request, body), "body") if endpoint.body else None,
            _if_match(request) if endpoint.is_checked else None,
        )
        reply = endpoint.run(call)
        headers = {"cache-control": "no-store"}
        if isinstance(reply.get("version"), str):
            headers["etag"] = f'"{reply["version"]}"'
        return JSONResponse(reply, headers=headers)


class _Guard:
    """Around everything: refuses at once what no endpoint should see, and adds the headers that each response has."""

    def __init__(self, app: ASGIApp, access: Access, page_set: PageSet) -> None:
        self._app, self._access, self._page_set = app, access, page_set

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        sending = self._with_headers(send)
        try:
            self._access.refuse(HTTPConnection(scope))
        except DeniedError as error:
            await _shown(Request(scope, receive), error, self._page_set)(scope, receive, sending)
            return
        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - answered already; a defect must not end the server
            _log.error("console_defect", error=f"{type(error).__name__}: {printable(str(error), 500)}")

    def _with_headers(self, send: Send) -> Send:
        more = list(HEADERS)
        if self._access.is_secure:
            more.append((b"strict-transport-security", b"max-age=31536000"))

        async def sending(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                given = list(message.get("headers", []))
                if not any(name == b"cache-control" for name, _ in given):
                    given.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*given, *more]}
            await send(message)

        return sending


def problem_response(error: RedirectdError) -> Response:
    """An error as problem+json."""
    document = problem(error)
    headers = {"connection": "close"} if isinstance(error, DeniedError) and error.is_last else {}
    if document["status"] == 401:
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, DeniedError) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    return JSONResponse(
        document, status_code=document["status"], headers=headers, media_type="application/problem+json"
    )


async def _document(_: Request) -> Response:
    return JSONResponse(_openapi())


_openapi = cache(openapi)


def _paths() -> list[str]:
    return list(dict.fromkeys(one.path for one in ENDPOINTS))


def _asked(request: Request, endpoint: Endpoint) -> dict[str, Any]:
    """The query as the model takes it: lists only for what may be repeated. Raises DeniedError for what may not."""
    asked: dict[str, Any] = {}
    fields = endpoint.query.model_fields if endpoint.query is not None else {}
    for name, value in request.query_params.multi_items():
        if name in fields and fields[name].default_factory is list:
            asked.setdefault(name, []).append(value)
        elif name in asked:
            raise DeniedError(422, f"query {printable(name, 60)} is there twice", "give it once")
        else:
            asked[name] = value
    return asked


def _json(request: Request, body: bytes) -> object:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise DeniedError(415, "its body is not application/json", "set Content-Type: application/json")
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DeniedError(400, "its body is not JSON in UTF-8, each key once", "send one JSON object") from error


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object whose keys are there once: of two values, a proxy and this may read different ones."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _if_match(request: Request) -> str:
    values = request.headers.getlist("if-match")
    if not values:
        raise DeniedError(428, "it has no If-Match", "send the remap's version in quotes, as in its ETag")
    value = values[0].strip()
    if len(values) != 1 or len(value) != 34 or value[0] != '"' or value[-1] != '"' or not value[1:-1].isalnum():
        raise DeniedError(400, "If-Match is not one version in quotes", "send the remap's ETag as it was")
    return value[1:-1]


def _as_error(error: Exception) -> RedirectdError:
    if isinstance(error, RedirectdError):
        return error
    if isinstance(error, HTTPException):
        return DeniedError(
            error.status_code, printable(str(error.detail), 200).lower(), "begin at / or /api/v1/openapi.json"
        )
    _log.error("console_defect", error=f"{type(error).__name__}: {printable(str(error), 500)}")
    return DeniedError(500, "this is a defect in redirectd", "see its log, and report it")
