"""What each page of the console passes before it runs: the sign-in, the role, and for a form that it is our own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from redirectd.console.access import DeniedError, Visitor, read_body, unavailable
from redirectd.console.api import status_of
from redirectd.console.desk import Desk
from redirectd.console.sign_in import SignIn, SignInNeededError, own_path
from redirectd.errors import RedirectdError, StoreError
from redirectd.sip.text import printable
from redirectd.store.tokens import Role

_MOST_FIELDS = 2000
SIGN_IN = "/sign-in"


@dataclass(frozen=True, slots=True)
class PageCall:
    """A request that may be: its form is empty for a GET; `guest` is None where nobody has signed in."""

    request: Request
    desk: Desk
    sign_in: SignIn
    guest: Visitor | None
    form: ImmutableMultiDict[str, str]

    @property
    def visitor(self) -> Visitor:
        """Who has signed in. Raises SignInNeededError on a page that is for everybody."""
        if self.guest is None:
            raise SignInNeededError
        return self.guest

    def path_value(self, name: str) -> str:
        """A part of the path, empty where it has none of this name."""
        return str(self.request.path_params.get(name, ""))


@dataclass(frozen=True, slots=True)
class ConsolePage:
    """One method of one path. `role` is the least that may see it; None for everybody, also without signing in."""

    method: str
    path: str
    role: Role | None
    run: Callable[[PageCall], Response]


@dataclass(frozen=True, slots=True)
class SignInForm:
    """What the page to sign in shows: where it leads to, the name so far, and what was wrong."""

    call: PageCall
    next: str
    name: str = ""
    error: RedirectdError | None = None

    @property
    def oidc(self) -> tuple[str, str] | None:
        """What the link to the OIDC provider is called, and where it leads; None without one."""
        provider = self.call.sign_in.oidc
        return None if provider is None else (provider.section.label, f"{SIGN_IN}/oidc?next={quote(self.next)}")


@dataclass(frozen=True, slots=True)
class PageSet:
    """The pages of a console, the page for an error (of whoever has signed in), and the one to sign in."""

    pages: tuple[ConsolePage, ...]
    show_error: Callable[[Request, RedirectdError, Visitor | None], Response]
    show_sign_in: Callable[[SignInForm], Response]


def all_pages(page_set: PageSet) -> tuple[ConsolePage, ...]:
    """The pages with those of signing in and out."""

    def ask(call: PageCall) -> Response:
        after = own_path(call.request.query_params.get("next", "/"))
        if call.guest is not None:
            return RedirectResponse(after, 303)
        begun = call.sign_in.by_proxy(call.request)
        if begun is None:
            return page_set.show_sign_in(SignInForm(call, after))
        response = RedirectResponse(after, 303)
        call.sign_in.set_cookie(response, begun[0])
        return response

    def take(call: PageCall) -> Response:
        after, name = own_path(call.form.get("next", "/")), call.form.get("name", "").strip()
        try:
            secret = call.sign_in.by_password(call.request, name, call.form.get("password", ""))
        except DeniedError as error:
            shown = page_set.show_sign_in(SignInForm(call, after, name[:64], error))
            return with_status(shown, error)
        response = RedirectResponse(after, 303)
        call.sign_in.set_cookie(response, secret)
        return response

    def leave(call: PageCall) -> Response:
        call.sign_in.end(call.request, call.visitor)
        response = RedirectResponse(SIGN_IN, 303)
        call.sign_in.set_cookie(response, "")
        return response

    def to_provider(call: PageCall) -> Response:
        after = own_path(call.request.query_params.get("next", "/"))
        where, binding = call.sign_in.to_provider(call.request, after)
        response = RedirectResponse(where, 303)
        call.sign_in.set_binding(response, binding)
        return response

    def from_provider(call: PageCall) -> Response:
        secret, after = call.sign_in.by_provider(call.request)
        response = RedirectResponse(after, 303)
        call.sign_in.set_cookie(response, secret)
        call.sign_in.set_binding(response, "")
        return response

    return (
        *page_set.pages,
        ConsolePage("GET", SIGN_IN, None, ask),
        ConsolePage("POST", SIGN_IN, None, take),
        ConsolePage("GET", f"{SIGN_IN}/oidc", None, to_provider),
        ConsolePage("GET", f"{SIGN_IN}/oidc/callback", None, from_provider),
        ConsolePage("POST", "/sign-out", Role.VIEWER, leave),
    )


def page_routes(desk: Desk, sign_in: SignIn, page_set: PageSet) -> list[Route]:
    """The routes of all pages, by path."""
    pages = all_pages(page_set)
    paths = dict.fromkeys(one.path for one in pages)
    return [
        Route(
            path,
            _PageRoute(desk, sign_in, page_set, [one for one in pages if one.path == path]),
            methods=None,
            include_in_schema=False,
        )
        for path in paths
    ]


class _PageRoute:
    """The pages of one path, as an ASGI application."""

    def __init__(self, desk: Desk, sign_in: SignIn, page_set: PageSet, pages: Iterable[ConsolePage]) -> None:
        self._desk, self._sign_in, self._page_set = desk, sign_in, page_set
        self._by_method = {one.method: one for one in pages}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        request = Request(scope, receive)
        try:
            body = await read_body(request)
            response = await run_in_threadpool(self._run, request, body)
        except RedirectdError as error:
            response = error_response(request, error, None, self._page_set)
        await response(scope, receive, send)

    def _run(self, request: Request, body: bytes) -> Response:
        visitor: Visitor | None = None
        secret = ""
        try:
            page = self._by_method.get("GET" if request.method == "HEAD" else request.method)
            if page is None:
                allowed = ", ".join(sorted(self._by_method))
                raise DeniedError(405, f"it has no method {printable(request.method, 20)}", f"use {allowed}")
            visitor = self._sign_in.visitor(request)
            if visitor is None and page.role is not None and request.method == "GET":
                secret, visitor = self._sign_in.by_proxy(request) or ("", None)
            form = _form(request, body) if page.method == "POST" else _NO_FORM
            _check(page, visitor)
            if page.method != "GET":
                self._sign_in.check_form(request, form, None if page.role is None else visitor)
            response = page.run(PageCall(request, self._desk, self._sign_in, visitor, form))
        except RedirectdError as error:
            response = error_response(request, error, visitor, self._page_set)
        if secret:
            self._sign_in.set_cookie(response, secret)
        return response


def error_response(request: Request, error: RedirectdError, visitor: Visitor | None, page_set: PageSet) -> Response:
    """The page of an error; the page to sign in where that is what is missing."""
    if isinstance(error, SignInNeededError):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        after = own_path(asked) if request.method == "GET" else "/"
        return RedirectResponse(SIGN_IN if after == "/" else f"{SIGN_IN}?next={quote(after, safe='/')}", 303)
    if isinstance(error, StoreError) and visitor is None:
        error = unavailable(error)
    return with_status(page_set.show_error(request, error, visitor), error)


def with_status(response: Response, error: RedirectdError) -> Response:
    """The response with the status of an error, and what else HTTP says of it."""
    response.status_code = status_of(error)
    if isinstance(error, DeniedError):
        if error.retry_after is not None:
            response.headers["retry-after"] = str(error.retry_after)
        if error.is_last:
            response.headers["connection"] = "close"
    return response


def _check(page: ConsolePage, visitor: Visitor | None) -> None:
    if page.role is None:
        return
    if visitor is None:
        raise SignInNeededError
    if not visitor.may(page.role):
        why = f"it is for the role {page.role.value}, and you have {visitor.role.value}"
        raise DeniedError(403, why, "ask somebody with that role, or whoever runs redirectd")


_NO_FORM: ImmutableMultiDict[str, str] = ImmutableMultiDict()


def _form(request: Request, body: bytes) -> ImmutableMultiDict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise DeniedError(415, "its body is not that of a form", "use the console's own pages")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise DeniedError(400, "its form can't be read", "use the console's own pages") from error
    if any("\0" in text for pair in pairs for text in pair):  # no database takes it alike
        raise DeniedError(400, "its form has a NUL character", "leave it out")
    return ImmutableMultiDict(pairs)
