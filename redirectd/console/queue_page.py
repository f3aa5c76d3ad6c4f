"""The queue: what waits by view and filter, a page at a time, and one decision on those that are chosen in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.datastructures import ImmutableMultiDict
from starlette.responses import Response

from redirectd.console.api import query_of
from redirectd.console.api_models import ACTIONS, RemapsQuery, read_model
from redirectd.console.desk import DeskReply, Verdicts
from redirectd.console.html import NOTICES, PageNotice, render
from redirectd.console.page_routes import PageCall
from redirectd.errors import UsageError
from redirectd.review.four_eyes import version
from redirectd.review.holds import ALL_FLAGS, needs
from redirectd.review.page import HELD, UNROUTED, QueueCounts, page
from redirectd.sip.text import printable
from redirectd.store.remap import Remap, State
from redirectd.store.states import past

QUEUE = "/queue"
_FILTER = ("view", "kind", "peer", "domain", "flag", "older_than", "limit")


@dataclass(frozen=True, slots=True)
class View:
    """A part of all remaps that has a tab of its own, and the decisions that are for it."""

    title: str
    states: tuple[State, ...]
    flag: str | None = None
    count: str = ""
    actions: tuple[str, ...] = ()


_DECIDE, _OF_APPROVED, _DECIDED = ("approve", "reject"), ("revoke",), ("reopen",)
VIEWS: Mapping[str, View] = {
    "pending": View("Pending", (State.PENDING,), count="pending", actions=_DECIDE),
    "held": View("Held", (State.PENDING,), HELD, "held", _DECIDE),
    "free": View("Nothing holds it", (State.PENDING,), "none", "free", _DECIDE),
    "not-in-force": View("Approved, not in force", (State.APPROVED,), UNROUTED, "not_in_force", _OF_APPROVED),
    "failing": View("Failing", (State.APPROVED,), "failing", "failing", _OF_APPROVED),
    "approved": View("Approved", (State.APPROVED,), count="approved", actions=_OF_APPROVED),
    "rejected": View("Rejected", (State.REJECTED,), count="rejected", actions=_DECIDED),
    "all": View("All", ()),
}


@dataclass(frozen=True, slots=True)
class QueueRow:
    """A remap in the queue, with its version, and what an approval of it needs beside."""

    remap: Remap
    version: str
    needs: tuple[str, ...]


def show_queue(call: PageCall) -> Response:
    """A page of the queue."""
    chosen = filter_of(call)
    view = VIEWS[chosen["view"]]
    asked = _asked(call, chosen)
    with call.desk.database.read() as connection:
        found = page(
            connection, query_of(asked, call.desk.clock()), call.desk.policy, after=asked.after, limit=asked.limit
        )
        counts = call.desk.counts(connection)
    rows = [QueueRow(one, version(one), needs(one)) for one in found.remaps]
    return render(
        "queue.html",
        call.visitor,
        page="queue",
        notice=NOTICES.of(call),
        views=VIEWS,
        chosen=chosen,
        view=view,
        rows=rows,
        counts=_counted(counts),
        flags_known=sorted(ALL_FLAGS),
        after=asked.after,
        onward=found.after,
    )


def _counted(counts: QueueCounts) -> dict[str, int | None]:
    found: dict[str, int | None] = {name: getattr(counts, name) for name in QueueCounts.__slots__}
    return {**found, "free": None if counts.held is None else counts.pending - counts.held}


def filter_of(call: PageCall) -> dict[str, str]:
    """The view and filter that the address or the form names, by name; what is empty is left out."""
    query: Mapping[str, str] = call.request.query_params if call.request.method != "POST" else call.form
    chosen = {name: query[name] for name in _FILTER if query.get(name)}
    if chosen.setdefault("view", "pending") not in VIEWS:
        raise UsageError("view", f"there is no view {printable(chosen['view'], 40)!r}", f"use {', '.join(VIEWS)}")
    return chosen


def _asked(call: PageCall, chosen: Mapping[str, str]) -> RemapsQuery:
    view = VIEWS[chosen["view"]]
    given: dict[str, object] = {name: value for name, value in chosen.items() if name != "view"}
    if view.flag is not None:
        given["flag"] = view.flag
    given["state"] = list(view.states)
    given["after"] = call.request.query_params.get("after", "0")
    return read_model(RemapsQuery, given, "filter", is_text=True)


def next_after(call: PageCall, number: int, chosen: Mapping[str, str]) -> int | None:
    """The remap that follows one in the filter."""
    asked = _asked(call, {name: value for name, value in chosen.items() if name != "limit"})
    with call.desk.database.read() as connection:
        found = page(connection, query_of(asked, call.desk.clock()), call.desk.policy, after=number, limit=1)
    return found.remaps[0].id if found.remaps else None


def decide_chosen(call: PageCall) -> Response:
    """One decision on the remaps that were chosen, each as it was shown; those that have changed are refused alone."""
    chosen = filter_of(call)
    action = call.form.get("action", "")
    if action not in ACTIONS:
        raise UsageError("action", f"there is no decision {printable(action, 40)!r}", f"use {', '.join(ACTIONS)}")
    reply = call.desk.decide(
        call.visitor, Verdicts(action=action, seen=seen_in(call.form), reason=call.form.get("reason", ""))
    )
    return NOTICES.lead_to(QUEUE, call.visitor, notice_of(action, reply), **chosen)


def seen_in(form: ImmutableMultiDict[str, str]) -> dict[int, str]:
    """The chosen rows: by id the version that was shown. Raises UsageError for none, and for what is not a row."""
    seen: dict[int, str] = {}
    for row in form.getlist("row"):
        number, _, shown = row.partition(":")
        if not (number.isascii() and number.isdecimal() and len(number) < 19 and shown.isalnum()):
            raise UsageError("row", f"{printable(row, 60)!r} is not a row of the queue", "choose from the queue")
        seen[int(number)] = shown
    if not seen:
        raise UsageError("row", "no remap is chosen", "choose at least one")
    return seen


def notice_of(action: str, reply: DeskReply) -> PageNotice:
    """What came of a decision, in words."""
    waiting = [one for one in reply.done if action == "approve" and one.state is State.PENDING]
    done = len(reply.done) - len(waiting)
    parts = [f"{counted(done)} {past(action)}"] if done or not waiting else []
    if waiting:
        parts.append(f"{counted(len(waiting))} with your approval, waiting for that of another person")
    if reply.refused:
        parts.append(f"{len(reply.refused)} refused")
    return PageNotice(", ".join(parts), reply.undo, reply.refused)


def counted(number: int) -> str:
    """A number of remaps."""
    return f"{number:,} remap{'' if number == 1 else 's'}"


def take_back(call: PageCall) -> Response:
    """Takes a decision back, and shows where one was."""
    reply = call.desk.undo(call.visitor, call.path_value("name"))
    refused = f", {len(reply.refused)} left as they are" if reply.refused else ""
    notice = PageNotice(f"taken back for {counted(len(reply.done))}{refused}", refused=reply.refused)
    number = call.form.get("remap", "")
    path = f"/remaps/{number}" if number.isascii() and number.isdecimal() else QUEUE
    return NOTICES.lead_to(path, call.visitor, notice, **filter_of(call))
