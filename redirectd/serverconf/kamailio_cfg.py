"""kamailio.cfg as Kamailio reads it: defines and includes followed, comments and switched-off parts left out.

Only what has to fit to redirectd is kept: modules in their order, their parameters, routes, where requests are
relayed and which reply routes are armed. See the core cookbook of Kamailio 5.6 for the preprocessor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from posixpath import dirname, join, normpath

from redirectd.serverconf.conf_files import ConfFiles, ConfPlace

_WORDS = "define|def|trydefine|trydef|redefine|redef|ifdef|ifndef|ifexp|else|endif|substdefs|substdef|subst|defexps?"
_DIRECTIVE = rf"(?:\#!|!!)[ \t]*(?:{_WORDS}|KAMAILIO|OPENSER|SER|ALL|MAXCOMPAT)\b(?:[^\n\\]|\\[^\n]|\\\n)*"
_TOKEN = re.compile(
    rf"(?P<directive>{_DIRECTIVE})"
    r"|(?P<comment>(?:\#!|!!)[ \t]*(?=(?:include|import)_file)|\#[^\n]*|//[^\n]*|/\*(?:[^*]|\*(?!/))*+(?:\*/)?)"
    r'|(?P<string>"(?:[^"\\]|\\.)*+"|' + r"'[^']*+')"
    r"|(?P<variable>\$\((?:[^()\n]|\([^()\n]*+\))*+\))"
    r"|(?P<word>[A-Za-z_][\w.]*)|(?P<number>[0-9]\w*)|(?P<symbol>\S)",
    re.DOTALL,
)
_SKIPPED = re.compile(r"(?:#!|!!)[ \t]*(?:ifdef|ifndef|ifexp|else|endif)\b[^\n]*")
_NAME = re.compile(r"(?:#!|!!)[ \t]*(\w+)[ \t]*(\w*)[ \t]*(.*)", re.DOTALL)
_PLAIN_SUBST = re.compile(r'"?(\W)([\w.@-]+)\1([^\n]*?)\1(\w*)"?\s*')
_LONGEST_STATEMENT = 1000
"""Tokens of a statement that are looked at."""
_MOST_TOKENS = 1_000_000
_MOST_SUBSTITUTIONS = 100
_LONGEST_STRING = 65_536
"""Characters that substitutions may make of one string: each can double it."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_BLOCKS = frozenset(
    (
        "route",
        "request_route",
        "reply_route",
        "onreply_route",
        "failure_route",
        "branch_route",
        "onsend_route",
        "event_route",
    )
)
_RELAYS = frozenset(["t_relay", "t_relay_to_udp", "t_relay_to_tcp", "t_relay_to_tls", "t_relay_to_sctp"])


@dataclass(frozen=True, slots=True)
class Token:
    """A word, number, string (without its quotes), variable or sign of the configuration; `first` on its line."""

    kind: str
    text: str
    place: ConfPlace
    first: bool


@dataclass(frozen=True, slots=True)
class Parameter:
    """A ``modparam``; a value put together of several strings is one."""

    module: str
    name: str
    value: str
    place: ConfPlace


@dataclass(frozen=True, slots=True)
class RouteBlock:
    """A route with its name (empty where it has none).

    `opened` is the line after which its statements begin, None where the first is on that line, too; `end` is its
    last line, and `text` all of it with single blanks.
    """

    kind: str
    name: str
    place: ConfPlace
    opened: ConfPlace | None
    end: ConfPlace
    text: str

    def calls(self, route: str) -> bool:
        """Say if it calls a route."""
        return f"route ( {route} )" in self.text


@dataclass(frozen=True, slots=True)
class Relaying:
    """A ``t_relay()``, its route, and the line before which a statement fits; None where one has to look."""

    place: ConfPlace
    block: RouteBlock
    before: ConfPlace | None


@dataclass(frozen=True, slots=True)
class KamailioCfg:
    """What a kamailio.cfg and its includes hold; `doubts` say what is not known, and an empty `main` that none is."""

    main: str = ""
    files: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    modules: tuple[tuple[str, ConfPlace], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    blocks: tuple[RouteBlock, ...] = ()
    armed: tuple[tuple[str, ConfPlace], ...] = ()
    relays: tuple[Relaying, ...] = ()
    settings: tuple[tuple[str, str, ConfPlace], ...] = ()
    includes: tuple[tuple[str, ConfPlace], ...] = ()
    route_calls: tuple[tuple[str, RouteBlock, ConfPlace], ...] = ()
    defines: frozenset[str] = frozenset()

    def module(self, name: str) -> ConfPlace | None:
        """Give where a module is loaded."""
        return next((place for found, place in self.modules if found == name), None)

    def values(self, module: str, name: str) -> list[Parameter]:
        """Give the values of a parameter, in their order."""
        return [one for one in self.parameters if module in one.module.split("|") and one.name == name]

    def value(self, module: str, name: str) -> Parameter | None:
        """Give the value of a parameter that counts, which is the last."""
        found = self.values(module, name)
        return found[-1] if found else None

    def block(self, kind: str, name: str = "") -> RouteBlock | None:
        """Give the route of this kind and name that counts, which is the last."""
        kinds = {"request_route", "route"} if kind == "request_route" else {kind}
        if kind == "reply_route":
            kinds.add("onreply_route")
        return next((one for one in reversed(self.blocks) if one.kind in kinds and one.name == name), None)

    def called(self, route: str) -> bool:
        """Say if any route calls this one."""
        return any(block.calls(route) for block in self.blocks)

    def setting(self, name: str) -> tuple[str, ConfPlace] | None:
        """Give the last value of a core parameter."""
        return next(((value, place) for found, value, place in reversed(self.settings) if found == name), None)

    def include(self, path: str) -> ConfPlace | None:
        """Give where a file is included."""
        return next((place for found, place in self.includes if normpath(found) == normpath(path)), None)


def read_kamailio(main: str, files: ConfFiles, without: Sequence[str] = ()) -> KamailioCfg:
    """Read a configuration from its main file; an included file of `without` is noted and left out."""
    reading = _Preprocessor(files, frozenset(map(normpath, without)))
    tokens = list(islice(reading.tokens(main, 0), _MOST_TOKENS + 1))
    if len(tokens) > _MOST_TOKENS:
        files.doubt(f"{main}: with its defines it has over {_MOST_TOKENS:,} words, and is read no further")
    parsing = _CfgParsing(tokens, files)
    parsing.run()
    if not files.files:
        main = ""
    return KamailioCfg(
        main=main,
        files=tuple(files.files),
        doubts=tuple(files.doubts),
        modules=tuple(parsing.modules),
        parameters=tuple(parsing.parameters),
        blocks=tuple(parsing.blocks),
        armed=tuple(parsing.armed),
        relays=tuple(parsing.relays),
        settings=tuple(parsing.settings),
        includes=tuple(reading.includes),
        route_calls=tuple(parsing.route_calls),
        defines=frozenset(reading.defines),
    )


def blocks_in(text: str, *defines: str) -> tuple[RouteBlock, ...]:
    """Read the routes of a text, as they are with these defines."""
    files = ConfFiles(lambda _: ("".join(f"#!define {name}\n" for name in defines) + text).encode(), lambda _: ())
    return read_kamailio("-", files).blocks


@dataclass
class _Preprocessor:
    """Gives the tokens that are left when defines and includes are followed."""

    files: ConfFiles
    without: frozenset[str]
    includes: list[tuple[str, ConfPlace]] = field(default_factory=list)
    defines: dict[str, str] = field(default_factory=dict)
    substitutions: list[tuple[str, str]] = field(default_factory=list)
    _on: list[bool] = field(default_factory=list)

    def tokens(self, path: str, depth: int, *, optional: bool = False) -> Iterator[Token]:
        text = self.files.text(path, optional=optional, depth=depth)
        if text is None:
            return
        opened = len(self._on)
        position, line, counted, last_line, wanted = 0, 1, 0, 0, ""
        while found := (_TOKEN if all(self._on) else _SKIPPED).search(text, position):
            position = found.end()
            line += text.count("\n", counted, found.start())
            counted = found.start()
            place = ConfPlace(path, line)
            kind = found.lastgroup or "directive"
            if kind == "directive":
                self._direct(found[0], place)
            elif kind != "comment":
                token = Token(kind, self._text(kind, found[0]), place, first=line != last_line)
                last_line = line + found[0].count("\n")
                if wanted and kind == "string":
                    yield from self._included(token, wanted, depth)
                    wanted = ""
                elif token.text in {"include_file", "import_file"}:
                    wanted = token.text
                else:
                    yield from self._expanded(token)
        if len(self._on) != opened:
            self.files.doubt(f"{path}: an #!ifdef is not closed")
            del self._on[opened:]

    def _text(self, kind: str, text: str) -> str:
        if kind != "string":
            return text
        inner = text[1:-1]
        for old, new in self.substitutions:
            count = inner.count(old)
            if count and len(inner) + count * len(new) > _LONGEST_STRING:
                self.files.doubt(
                    f"a #!subst that makes over {_LONGEST_STRING:,} characters of a string is not followed"
                )
            elif count:
                inner = inner.replace(old, new)
        return _ESCAPE.sub(r"\1", inner) if text[0] == '"' else inner

    def _expanded(self, token: Token) -> Iterator[Token]:
        """Put a define's value in the place of its name."""
        value, seen = token.text, 0
        while token.kind == "word" and value in self.defines and seen < 10:
            value, seen = self.defines[value], seen + 1
        if not seen:
            yield token
            return
        for found in _TOKEN.finditer(value):
            kind = found.lastgroup or "word"
            if kind not in {"comment", "directive"}:
                yield Token(kind, self._text(kind, found[0]), token.place, token.first)

    def _included(self, token: Token, how: str, depth: int) -> Iterator[Token]:
        here = dirname(token.place.file)
        path = normpath(token.text if token.text.startswith("/") else join(here, token.text))
        self.includes.append((path, token.place))
        if path not in self.without:
            yield from self.tokens(path, depth + 1, optional=how == "import_file")

    def _direct(self, text: str, place: ConfPlace) -> None:
        found = _NAME.match(text.replace("\\\n", " "))
        word, name, rest = found.groups() if found else ("", "", "")
        match word:
            case "ifdef":
                self._on.append(name in self.defines)
            case "ifndef":
                self._on.append(name not in self.defines)
            case "ifexp":
                self.files.doubt(f"{place}: #!ifexp is not followed, and its first part is read")
                self._on.append(True)
            case "else" if self._on:
                self._on[-1] = not self._on[-1]
            case "endif" if self._on:
                self._on.pop()
            case "define" | "def" | "redefine" | "redef":
                self.defines[name] = rest.strip()
            case "trydefine" | "trydef":
                self.defines.setdefault(name, rest.strip())
            case "subst" | "substdef" | "substdefs":
                self._substitute(word, text, place)
            case "defexp" | "defexps":
                self.files.doubt(f"{place}: #!{word} is not followed")

    def _substitute(self, word: str, text: str, place: ConfPlace) -> None:
        # A regular expression of the operator's is not run here: it may cost any time.
        found = _PLAIN_SUBST.fullmatch(text.partition(word)[2].strip())
        if found is None or found[2].count(".") or len(self.substitutions) == _MOST_SUBSTITUTIONS:
            self.files.doubt(f"{place}: this #!{word} is not followed")
            return
        value = found[3]
        self.substitutions.append((found[2], value))
        if word != "subst":
            self.defines[found[2]] = f'"{value}"' if word == "substdefs" else value


@dataclass
class _CfgParsing:
    """Finds what matters in the tokens, which are those of all files."""

    tokens: Sequence[Token]
    files: ConfFiles
    modules: list[tuple[str, ConfPlace]] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    blocks: list[RouteBlock] = field(default_factory=list)
    armed: list[tuple[str, ConfPlace]] = field(default_factory=list)
    relays: list[Relaying] = field(default_factory=list)
    settings: list[tuple[str, str, ConfPlace]] = field(default_factory=list)
    route_calls: list[tuple[str, RouteBlock, ConfPlace]] = field(default_factory=list)

    def run(self) -> None:
        at = 0
        while at < len(self.tokens):
            at = self._statement(at)

    def _is(self, at: int, text: str) -> bool:
        return at < len(self.tokens) and self.tokens[at].text == text and self.tokens[at].kind != "string"

    def _statement(self, at: int) -> int:
        token = self.tokens[at]
        if token.kind != "word":
            return at + 1
        if token.text in {"loadmodule", "loadmodulex"}:
            return self._module(at + 1)
        if token.text in {"modparam", "modparamx"} and self._is(at + 1, "("):
            return self._parameter(at + 2)
        if token.text in _BLOCKS:
            return self._block(at)
        if self._is(at + 1, "=") or token.text == "cfgengine":
            return self._setting(at)
        return at + 1

    def _module(self, at: int) -> int:
        if self._is(at, "("):
            at += 1
        if at < len(self.tokens) and self.tokens[at].kind == "string":
            name = self.tokens[at].text.rpartition("/")[2].removesuffix(".so")
            self.modules.append((name, self.tokens[at].place))
        return at + 1

    def _parameter(self, at: int) -> int:
        start, parts = at, [""]
        while at < len(self.tokens) and not self._is(at, ")"):
            if self._is(at, ","):
                parts.append("")
            else:
                parts[-1] += self.tokens[at].text
            at += 1
        if len(parts) > 2:
            value = ",".join(parts[2:])
            self.parameters.append(Parameter(parts[0], parts[1], value, self.tokens[start].place))
        return at + 1

    def _setting(self, at: int) -> int:
        token = self.tokens[at]
        end = at + (2 if self._is(at + 1, "=") else 1)
        values: list[str] = []
        while end < len(self.tokens) and self.tokens[end].place == token.place and not self.tokens[end].first:
            values.append(self.tokens[end].text)
            end += 1
        self.settings.append((token.text, "".join(values), token.place))
        return max(end, at + 1)

    def _block(self, at: int) -> int:
        start, kind, name = at, self.tokens[at].text, ""
        at += 1
        if self._is(at, "["):
            at += 1
            while at < len(self.tokens) and not self._is(at, "]"):
                name += self.tokens[at].text
                at += 1
            at += 1
        if not self._is(at, "{"):
            return at
        end, depth = at + 1, 1
        while end < len(self.tokens) and depth:
            depth += self._is(end, "{") - self._is(end, "}")
            end += 1
        if depth:
            self.files.doubt(f"{self.tokens[start].place}: the route is not closed, and was not understood")
        inner = self.tokens[at + 1 : end - 1]
        opened = (
            self.tokens[at].place if inner and inner[0].first and inner[-1].place != self.tokens[at].place else None
        )
        text = " ".join(token.text for token in self.tokens[start:end])
        block = RouteBlock(kind, name, self.tokens[start].place, opened, self.tokens[end - 1].place, text)
        self.blocks.append(block)
        for number, token in enumerate(inner):
            self._inside(inner, number, token, block)
        return end

    def _inside(self, inner: Sequence[Token], number: int, token: Token, block: RouteBlock) -> None:
        if token.kind != "word" or number + 1 >= len(inner) or inner[number + 1].text != "(":
            return
        if token.text == "t_on_reply" and number + 2 < len(inner):
            self.armed.append((inner[number + 2].text, token.place))
        elif token.text == "route" and number + 2 < len(inner) and token.first:
            self.route_calls.append((inner[number + 2].text, block, token.place))
        elif token.text in _RELAYS and block.kind not in {"onreply_route", "reply_route"}:
            self.relays.append(Relaying(token.place, block, _before(inner, number)))


def _before(inner: Sequence[Token], number: int) -> ConfPlace | None:
    """Give the line of the statement that holds a token; None where it is not the first of its line, or an else."""
    earliest = max(0, number - _LONGEST_STATEMENT)
    while number > earliest and inner[number - 1].text not in {";", "{", "}"}:
        number -= 1
    if number == earliest > 0:
        return None
    first = inner[number]
    return first.place if first.first and first.text != "else" else None
