"""Options, arguments and filters that commands share; values are looked up in help and for the shell's completion."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from redirectd.cli.output import did_you_mean
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from redirectd.cli.app import App
    from redirectd.collect.policy import Policy
    from redirectd.review.page import Query
    from redirectd.store.remap import Remap, State


MOST = 200
"""Ids that a shell is offered at once."""

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@contextmanager
def _opened(context: click.Context) -> Iterator[App]:
    """The configuration and the database of the command line so far; what is wrong with them offers nothing."""
    from redirectd.cli.app import App

    root = context.find_root()
    with closing(App(root.params.get("config"))) as app, suppress(RedirectdError):
        app.reads_only = True
        yield app


def target_names(context: click.Context) -> list[str]:
    """The names of the configured targets; none where the configuration can't be read."""
    with _opened(context) as app:
        return [target.name for target in app.config.target]
    return []


def dialect_names() -> list[str]:
    """`auto`, and the names of all families, wrappers and dialects."""
    from redirectd.dialects.registry import choices

    return list(choices())


class _Named(click.Option):
    """An option with values that its help names; `names` gives them."""

    def __init__(self, *args: Any, names: Callable[[click.Context], Sequence[str]], **kwargs: Any) -> None:  # noqa: ANN401 - click's
        self._names = names
        super().__init__(*args, shell_complete=self._complete, **kwargs)

    def _complete(self, context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self._names(context) if name.startswith(incomplete)]

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Term and text as click has them, and the values."""
        record = super().get_help_record(ctx)
        names = self._names(ctx) if record and ctx.find_root().obj is not None else []
        return record if record is None or not names else (record[0], f"{record[1]} One of: {', '.join(names)}.")


class _DialectName(click.ParamType[str]):
    name = "dialect"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises UsageError for a dialect that is not there."""
        names = dialect_names()
        if value not in names:
            raise UsageError(
                f"--dialect {printable(value, 60)}", "there is no such dialect", did_you_mean(value, names)
            )
        return value


target_option = click.option(
    "--target",
    "only",
    cls=_Named,
    names=target_names,
    multiple=True,
    metavar="NAME",
    help="Only this target; may be repeated.",
)
ping_option = click.option(
    "--ping", is_flag=True, help="Send one OPTIONS to each new address (up to 20), and name those that do not answer."
)
dialect_option = click.option(
    "--dialect",
    cls=_Named,
    names=lambda _: dialect_names(),
    type=_DialectName(),
    metavar="NAME",
    help="Log format. Default: auto-detect.",
)


def ids_of(*states: str) -> Complete:
    """Completes the ids of remaps in these states, of all where none is named; each with its old URI."""

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        if incomplete and not incomplete.isdecimal():
            return []
        with _opened(context) as app, app.database.read() as connection:
            return [CompletionItem(str(number), help=text) for number, text in _ids(connection, states, incomplete)]
        return []

    return complete


def _ids(connection: Any, states: Collection[str], incomplete: str) -> list[tuple[int, str]]:  # noqa: ANN401
    from redirectd.store.remap import State
    from redirectd.store.remaps import RemapFilter, ids_of, of_ids

    numbers = ids_of(connection, RemapFilter(states=[State(state) for state in states]))
    some = [number for number in numbers if str(number).startswith(incomplete)][:MOST]
    return sorted((remap.id, printable(remap.old_uri, 60)) for remap in of_ids(connection, some))


def generations(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the numbers of this node's generations, the newest first."""
    from redirectd.cli.output import exact_time

    with _opened(context) as app, app.database.read() as connection:
        from redirectd.store.generations import history

        return [
            CompletionItem(str(one.number), help=f"{exact_time(one.created_at)} {one.cause} {one.outcome.value}")
            for one in history(connection, app.config.node, MOST)
            if str(one.number).startswith(incomplete)
        ]
    return []


KINDS = ("user", "gateway", "registrar")
FILTER_KEYS = {"peer": "peer", "domain": "domain", "flag": "flag", "kind": "kind", "older": "older_than"}
"""How `review` and messages call the options."""


def known_flag(name: str) -> str:
    """A flag's name as typed, or `none`. Raises UsageError for one that no remap can have."""
    from redirectd.review.holds import ALL_FLAGS

    names = ["none", *sorted(ALL_FLAGS)]
    if name not in names:
        raise UsageError(f"--flag {printable(name, 60)}", "there is no such flag", did_you_mean(name, names))
    return name


class FlagName(click.ParamType[str]):
    """The name of a flag, or `none`."""

    name = "flag"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises UsageError for a flag that no remap can have."""
        return known_flag(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The flags, and `none`."""
        from redirectd.review.holds import ALL_FLAGS

        return [CompletionItem(name) for name in ["none", *sorted(ALL_FLAGS)] if name.startswith(incomplete)]


_OPTIONS = (
    click.option("--kind", type=click.Choice(KINDS), help="Only remaps of this kind."),
    click.option("--peer", metavar="TEXT", help="Only remaps reported by a peer containing TEXT, such as 192.0.2.1."),
    click.option("--domain", metavar="TEXT", help="Only remaps whose old or new host contains TEXT."),
    click.option(
        "--flag",
        type=FlagName(),
        metavar="FLAG",
        help="Only remaps with this flag, such as untrusted; 'none' for those without.",
    ),
    click.option("--older-than", metavar="DURATION", help="Only remaps last seen longer ago, such as 30d."),
)


@dataclass(frozen=True, slots=True)
class Filters:
    """What the options say; None does not restrict."""

    kind: str | None = None
    peer: str | None = None
    domain: str | None = None
    flag: str | None = None
    older_than: str | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing restricts."""
        return not any((self.kind, self.peer, self.domain, self.flag, self.older_than))

    @property
    def text(self) -> str:
        """The filter in words, as in `flag=untrusted kind=user`; empty where nothing restricts."""
        values = {name: getattr(self, key) for name, key in FILTER_KEYS.items()}
        return " ".join(f"{name}={printable(value, 60)}" for name, value in values.items() if value)

    def query(self, states: Sequence[State], now: datetime) -> Query:
        """The same as the review's functions take it. Raises UsageError for a wrong duration."""
        from redirectd.review.page import Query

        return Query(
            states=states,
            kind=self.kind,
            peer=self.peer,
            domain=self.domain,
            flag=self.flag,
            seen_before=self._seen_before(now),
            now=now,
        )

    def find(
        self,
        connection: Connection,
        states: Sequence[State],
        policy: Policy,
        now: datetime,
        *,
        after_id: int = 0,
        limit: int | None = None,
    ) -> list[Remap]:
        """The remaps that pass, with their holds under the current policy. Raises UsageError for a wrong duration."""
        from redirectd.review.page import matching, page

        query = self.query(states, now)
        if limit is None:
            return list(matching(connection, query, policy, after=after_id))
        return list(page(connection, query, policy, after=after_id, limit=limit).remaps)

    def _seen_before(self, now: datetime) -> datetime | None:
        if self.older_than is None:
            return None
        from redirectd.config.values import parse_duration

        try:
            return now - parse_duration(self.older_than)
        except ValueError as error:
            raise UsageError("--older-than", str(error), "write it as 30d, 12h or 90m") from error


def no_match(connection: Connection, filters: Filters, states: Sequence[str] = ()) -> str:
    """What to say where nothing passes: how much the filter has hidden, so that nobody takes it for all."""
    from redirectd.store.remaps import counts

    by_state = counts(connection)
    total = sum(count for state, count in by_state.items() if not states or state in states)
    which = f"{' or '.join(states)} " if states else ""
    return f"no {which}remap matches {filters.text} ({total:,} without the filter)"


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the filters' options; the command gets them as `filters`."""

    @wraps(command)
    def with_filters(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - click calls with anything
        names = ("kind", "peer", "domain", "flag", "older_than")
        return command(*args, filters=Filters(**{name: kwargs.pop(name) for name in names}), **kwargs)

    wrapped: Callable[..., Any] = with_filters
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
