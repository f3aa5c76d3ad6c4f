"""How the console's pages are rendered: templates, text that is made harmless, static files, and what was just done."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from redirectd.console.access import DeniedError, Visitor
from redirectd.console.api import status_of
from redirectd.console.page_routes import PageCall, SignInForm
from redirectd.errors import RedirectdError
from redirectd.review.holds import LOOKS
from redirectd.sip.compare import pieces
from redirectd.sip.text import elided, printable, shown
from redirectd.sip.uri import SipUri, parse_uri
from redirectd.store.tokens import Role

LONGEST = 16_384
"""Characters of one text that a page shows."""

_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "console.svg": "image/svg+xml",
}
_KEPT = 2_000


def _harmless(value: object) -> object:
    """Every text that a template puts out: nothing in it reorders or hides what is beside it."""
    return shown(value, LONGEST) if isinstance(value, str) and not isinstance(value, Markup) else value


def _moment(at: datetime | str | None) -> str:
    """A time as pages show it, in UTC; empty for none."""
    if at is None:
        return ""
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    return f"{when:%Y-%m-%d %H:%M}"


def _ago(age: timedelta) -> str:
    """A length of time in its greatest unit."""
    seconds = max(0, int(age.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def number_in(text: str) -> int | None:
    """A number in a path, a query or a form; None for any other text."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def uri_parts(uri: str, other: str | None, *, whole: bool = False) -> list[tuple[str, bool]]:
    """A URI in parts, each with whether it differs from the same part of another URI; long parts in short."""
    here, there = parse_uri(uri), parse_uri(other) if other else None
    if not isinstance(here, SipUri):
        parts = [(uri, False)]
    elif isinstance(there, SipUri):
        parts = pieces(here, there)
    else:
        parts = pieces(here, here)
    return [(text if whole else elided(shown(text, LONGEST)), differs) for text, differs in parts]


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("redirectd.console"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "moment": _moment,
        "ago": _ago,
        "capitalize_first": lambda text: text[:1].upper() + text[1:],
        "short": lambda text: elided(shown(text, LONGEST)),
        "query": _query,
    }
    made.globals |= {
        "uri_parts": uri_parts,
        "looks": LOOKS,
        "Role": Role,
        "static": {name: f"/static/{name}?v={_static(name)[1]}" for name in _TYPES},
    }
    return made


def _query(values: Mapping[str, object]) -> str:
    """A query string of what is given; what is empty or None is left out."""
    return urlencode({name: str(value) for name, value in values.items() if value not in {None, "", 0}})


def render(name: str, visitor: Visitor | None, **values: Any) -> HTMLResponse:  # noqa: ANN401 - what the template takes
    """A page of a template, for somebody or for nobody yet."""
    given = {"visitor": visitor, "notice": None, "page": "", **values}
    return HTMLResponse(_environment().get_template(name).render(given))


def show_error(_: Request, error: RedirectdError, visitor: Visitor | None) -> Response:
    """The page of an error: where, why, and what to do."""
    return render("problem.html", visitor, error=error, status=status_of(error))


def show_sign_in(form: SignInForm) -> Response:
    """The page to sign in."""
    return render("sign_in.html", None, form=form)


def static_file(call: PageCall) -> Response:
    """The style sheet or the script; kept by browsers, since another version has another address."""
    name = call.path_value("name")
    if name not in _TYPES:
        raise DeniedError(404, f"there is no file {printable(name, 60)}", "begin at the first page")
    headers = {"cache-control": "public, max-age=31536000, immutable"}
    return Response(_static(name)[0], media_type=_TYPES[name], headers=headers)


@cache
def _static(name: str) -> tuple[bytes, str]:
    content = files("redirectd.console").joinpath("static", name).read_bytes()
    return content, sha256(content).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class PageNotice:
    """What somebody has just done, as the next page says it: with its way back, which leads to `remap` where it was on
    one alone, and what was refused by id."""

    text: str
    undo: str = ""
    refused: Mapping[int, RedirectdError] = field(default_factory=dict)
    remap: int | None = None


class PageNotices:
    """The latest notices, by a name that the address of the next page carries."""

    def __init__(self) -> None:
        self._lock, self._kept = threading.Lock(), OrderedDict[str, tuple[str, PageNotice]]()

    def lead_to(self, path: str, visitor: Visitor, notice: PageNotice, **query: object) -> Response:
        """Leads a browser to the page that says it."""
        name = secrets.token_urlsafe(9)
        with self._lock:
            self._kept[name] = visitor.account, notice
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return RedirectResponse(f"{path}?{_query({**query, 'said': name})}", 303)

    def of(self, call: PageCall) -> PageNotice | None:
        """The notice that the page's address names, where it is of the same account."""
        account, notice = self._kept.get(call.request.query_params.get("said", ""), ("", None))
        return notice if account == call.visitor.account else None


NOTICES = PageNotices()
