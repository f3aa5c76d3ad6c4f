"""template: user moves in any grammar, by a Jinja2 template of the operator (OpenSIPS, FreeSWITCH, ...).

The operator's base file is the template. It sees ``routes``, each with ``old`` (``user@lowercase-host``), ``user``,
``host`` and ``new``, and ``token``, the name of the content; and the filters of `redirectd.targets.escapes`. The key
``entry`` is a regular expression with the groups ``old`` and ``new`` for one entry in the result, by which the file
is read back, unescaped as ``escape`` says, and must give exactly what was meant.

Templates run in Jinja2's sandbox, without files, includes or Python: only text comes out.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from redirectd.plan.target import NOTHING, CannotCarryError, Command, Question, Rendered, TargetError, gather, token_of
from redirectd.sip.text import printable
from redirectd.sip.uri import SipUri
from redirectd.targets.kamailio_key import user_at_host
from redirectd.targets.own_programs import Programs
from redirectd.targets.project import Projection
from redirectd.targets.uritext import KAMAILIO, write_uri
from redirectd.targets.user_moves import NotAskedError, UserMoves

try:
    from jinja2 import StrictUndefined, TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ImportError:  # the extra is not installed; building the target says so
    HAS_JINJA = False
else:
    HAS_JINJA = True


_BACKSLASHED = re.compile(r"\\(.)")


def _pcre(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_@%]", r"\\\g<0>", text)


def _unbackslash(text: str) -> str:
    return _BACKSLASHED.sub(r"\1", text)


ESCAPES: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "none": (str, str),
    "asterisk": (lambda text: text.replace(";", "\\;"), _unbackslash),
    "db_text": (lambda text: text.replace(":", "\\:"), _unbackslash),
    "xml": (html.escape, html.unescape),
    "json": (lambda text: json.dumps(text)[1:-1], lambda text: str(json.loads(f'"{text}"'))),
    "sql": (lambda text: text.replace("'", "''"), lambda text: text.replace("''", "'")),
    "pcre": (_pcre, _unbackslash),
}
"""Name to escape and unescape, its inverse for the parse-back.

What is escaped is a URI or a key of a route: printable ASCII without blanks, double quotes or backslashes. So each pair
covers what is left of its grammar's special characters.
"""

MAX_SIZE = 512 * 1024 * 1024
"""Bytes of a rendered file; a template that makes more is taken for a mistake."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a template sees of a route."""

    old: str
    user: str
    host: str
    new: str


class Template(UserMoves):
    """Renders the operator's template; `entry` and `escape` say how the result is read back."""

    kind: ClassVar[str] = "template"
    mtime_step: ClassVar[bool] = False
    WIDTH = "user@host"

    def __init__(
        self,
        *,
        match: str = "request-uri",
        base: object = None,
        entry: str = "",
        escape: str = "none",
        width: str = WIDTH,
        check: Sequence[str] = (),
        reload: Sequence[str] = (),
        verify: Sequence[str] = (),
    ) -> None:
        super().__init__(match, width=width)
        self.programs = Programs(check, reload, verify)
        del base  # its path is the configuration's business, its bytes come to `render`
        if escape not in ESCAPES:
            raise ValueError(f"escape {escape!r} is none of {', '.join(ESCAPES)}")
        self._unescape = ESCAPES[escape][1]
        self._entry = _compiled(entry)
        if not HAS_JINJA:
            raise ValueError("the kind template needs Jinja2: install redirectd[template]")
        self._environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
        self._environment.filters.update({name: escape for name, (escape, _) in ESCAPES.items()})

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give user and host, in the canonical spelling and in the one seen."""
        if uri.scheme != "sip":
            raise CannotCarryError("a template can't distinguish sips: from sip:, so that no sips: URI is moved")
        return user_at_host(uri)

    def asked(self, uri: SipUri, text: str) -> str:
        """Give user and host as they were sent: how the server looks them up is the operator's business."""
        if uri.scheme != "sip" or uri.user is None:
            raise NotAskedError("a known miss: no sips: URI and none without a user is in the file")
        return f"{uri.user}@{uri.host.lower()}"

    def besides(self, old: SipUri) -> str:
        """Name the same user at the same host."""
        return f"calls to {printable(f'{old.user}@{old.host}', 200)} at any other port and by any other transport"

    def _value(self, new: SipUri) -> str:
        return write_uri(new, KAMAILIO)

    def _write(self, found: Projection, base: bytes | None) -> Rendered:
        """Render the template `base`; TargetError where it fails or its result is not read back as it was meant."""
        if base is None:
            raise TargetError("there is no template")
        token = token_of(found.entries)
        content = self._text(base, found.entries, token).encode("utf-8")
        if len(content) > MAX_SIZE:
            raise TargetError(f"the template makes over {MAX_SIZE} bytes")
        if self.parse(content, found.entries) != found.entries:
            raise TargetError("what the template writes is not read back by `entry` and `escape` as it was meant")
        return found.rendered(content, token)

    def _text(self, base: bytes, entries: Mapping[str, str], token: str) -> str:
        seen = [_Shown(old, *_split(old), new) for old, new in entries.items()]
        try:
            return self._environment.from_string(base.decode("utf-8")).render(routes=seen, token=token)
        except (TemplateError, ArithmeticError, TypeError, ValueError, LookupError) as error:
            raise TargetError(f"the template fails: {error}") from None

    def parse(self, content: bytes, like: Mapping[str, str] = NOTHING) -> Mapping[str, str]:
        """Read the entries back by `entry`; TargetError where one appears twice."""
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            raise TargetError("the file is not UTF-8") from None
        return gather(self._rows(text), like, "old URI")

    def _rows(self, text: str) -> Iterator[tuple[int, str, str]]:
        line, at = 1, 0
        for found in self._entry.finditer(text):
            line, at = line + text.count("\n", at, found.start()), found.start()
            yield line, self._unescape(found["old"]), self._unescape(found["new"])

    def reload(self) -> Sequence[Command]:
        """Run the operator's program."""
        return self.programs.reloading()

    def preflight(self, path: str, rendered: Rendered) -> Question:
        """Run the operator's program on the staged file."""
        return self.programs.checking(path)

    def questions(self, rendered: Rendered, changed: Sequence[str]) -> Sequence[Question]:
        """Run the operator's program that proves what is in service."""
        return self.programs.verifying(rendered)


def _split(key: str) -> tuple[str, str]:
    user, _, host = key.partition("@")
    return user, host


def _compiled(entry: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(entry, re.MULTILINE)
    except re.error as error:
        raise ValueError(f"entry is not a regular expression ({error})") from None
    if not {"old", "new"} <= pattern.groupindex.keys():
        raise ValueError("entry is missing, or has no groups (?P<old>...) and (?P<new>...)")
    return pattern
