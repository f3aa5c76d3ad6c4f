"""Options and arguments whose values are looked up: targets, dialects, ids, generations; in help and for the shell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from redirectd.cli.output import did_you_mean
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from redirectd.cli.app import App

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
