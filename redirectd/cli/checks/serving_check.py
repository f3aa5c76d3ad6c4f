"""Whether a server routes by the file in place: its configuration may not load it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from redirectd.apply.control import Channel
from redirectd.apply.servers import judged
from redirectd.cli.checks.finding import Finding, Level, good
from redirectd.errors import RedirectdError
from redirectd.plan.planning import understood
from redirectd.plan.target import Rendered, token_of
from redirectd.plan.target_spec import TargetSpec

ASKED = 20
"""Questions at most for a target; its sentinel or whole table is among the first."""

_MEND = (
    "'redirectd status' shows whether it waits for its server; if not, see that the server's own configuration loads "
    "this file (docs/targets.md), then 'redirectd apply'"
)


def check_serving(channel: Channel, spec: TargetSpec) -> Iterator[Finding]:
    """Asks the server for what is in the file; says nothing of a file that holds nothing or can't be read.

    The questions are those after a reload, which only read.
    """
    try:
        entries, why = understood(spec.target, Path(spec.path).read_bytes())
    except OSError:
        return  # its own check reports it
    questions = () if why or not entries else spec.target.questions(Rendered(b"", entries, token=token_of(entries)), ())
    where = f"target {spec.name}, in service"
    for question in questions[:ASKED]:
        try:
            doubt = judged(channel, question)
        except RedirectdError as error:
            yield Finding(where, Level.WARNING, f"the server can't be asked: {error.why}", error.what_to_do)
            return
        if doubt is not None:
            yield Finding(where, Level.WARNING, f"the server does not hold {spec.path}: {doubt}", _MEND)
            return
    if questions:
        yield good(where, f"the server holds {spec.path}")
