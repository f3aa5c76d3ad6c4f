"""One remap: what a decision on it needs to be looked at, its ladder as a picture, and the decision itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rich.cells import cell_len, chop_cells
from starlette.responses import Response

from redirectd.console.api_models import ACTIONS
from redirectd.console.desk import Verdicts
from redirectd.console.html import NOTICES, PageNotice, number_in, render
from redirectd.console.page_routes import PageCall
from redirectd.console.queue_page import QUEUE, VIEWS, filter_of, next_after, notice_of
from redirectd.errors import RedirectdError, UsageError
from redirectd.plan.planning import TargetPlan
from redirectd.plan.route import Approved
from redirectd.review.approvals import ContradictionError
from redirectd.review.attention import effect
from redirectd.review.case import change_of, move_drawn, open_case
from redirectd.review.four_eyes import version
from redirectd.service.applying import plan_of_change
from redirectd.sip.text import elided, printable, shown
from redirectd.store import approved, in_service
from redirectd.store.remap import Remap, State
from redirectd.store.remaps import Evidence
from redirectd.store.states import TRANSITIONS

_LANES = (20, 390, 760)
"""Where the lanes of a ladder are drawn, in its own units: 780 wide."""

_LINE, _COLUMNS = 17, 42
"""The height of a line of text, and the characters between two lanes."""


@dataclass(frozen=True, slots=True)
class DrawnArrow:
    """One message of a drawn ladder: its line from `x` to `end` at `y`, its texts with their places."""

    x: int
    end: int
    y: int
    texts: tuple[tuple[int, int, str], ...]
    at: str


@dataclass(frozen=True, slots=True)
class DrawnLadder:
    """A ladder as it is drawn: the lanes with their names' lines, the arrows, and the height of all."""

    lanes: tuple[tuple[int, tuple[str, ...]], ...]
    arrows: tuple[DrawnArrow, ...]
    height: int


def draw(remap: Remap, newest: Evidence, wait_ms: float | None) -> DrawnLadder:
    """The ladder of a sighting; the mean wait before its 301 says when the request came."""
    names, arrows = move_drawn(remap, newest)
    lanes = tuple((x, tuple(_lines(name, 24)[:3])) for x, name in zip(_LANES, names, strict=True))
    y = 36 + _LINE * max(len(lines) for _, lines in lanes)
    asked = None if wait_ms is None else newest.seen_at - timedelta(milliseconds=wait_ms)
    waited = "" if wait_ms is None else f"about {wait_ms:,.0f} ms later"
    times = (_clock(asked), " ".join(filter(None, (_clock(newest.seen_at), waited))), "")
    drawn = []
    for arrow, at in zip(arrows, times, strict=True):
        start, end = _LANES[arrow.start], _LANES[arrow.end]
        columns = _COLUMNS * abs(arrow.end - arrow.start)
        left, texts = min(start, end) + 12, []
        for line in ([at] if at else []) + _lines(arrow.label, columns):
            texts.append((left, y, line))
            y += _LINE
        line_y = y - _LINE + 11
        y = line_y + _LINE
        for line in (part for note in arrow.notes for part in _lines(note, columns)):
            texts.append((left, y, line))
            y += _LINE
        drawn.append(DrawnArrow(start, end, line_y, tuple(texts), at))
        y += 12
    return DrawnLadder(lanes, tuple(drawn), y)


def _lines(text: str, columns: int) -> list[str]:
    """A text in lines of at most this many columns, a long one in short."""
    safe = elided(shown(text))
    return chop_cells(safe, columns) if cell_len(safe) > columns else [safe]


def _clock(at: datetime | None) -> str:
    return "" if at is None else f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"


@dataclass(frozen=True, slots=True)
class Effect:
    """What an approval changes in each target, or why that is not known here."""

    targets: Sequence[TargetPlan] = ()
    why_not: str = ""


def show_remap(call: PageCall) -> Response:
    """All that is known of one remap."""
    return _shown(call, NOTICES.of(call))


def _shown(call: PageCall, notice: PageNotice | None, against: Sequence[int] = ()) -> Response:
    chosen, now = filter_of(call), call.desk.clock()
    contact = number_in(call.request.query_params.get("contact", ""))
    with call.desk.database.read() as connection:
        number = call.desk.remap(connection, number_in(call.path_value("name")) or 0).id
        seen = version(call.desk.remap(connection, number))
        case = open_case(connection, number, call.desk.policy, now=now, contact=contact)
        waited = in_service.wait_of(connection, number)
        routed = in_service.services(connection, [number]).get(number, [])
        change = change_of(connection, case.remap, now=now) if case.remap.state is State.PENDING else None
        simulated = [
            (document, row)
            for document in approved.last_simulations(connection)
            for row in document["moves"]
            if row["id"] == number
        ]
    newest = case.evidence[-1] if case.evidence else None
    return render(
        "remap.html",
        call.visitor,
        page="queue",
        notice=notice,
        case=case,
        remap=case.remap,
        version=seen,
        contact=contact,
        actions=_actions(case.remap),
        against=against,
        reason=call.form.get("reason", ""),
        chosen=chosen,
        view=VIEWS[chosen["view"]],
        following=next_after(call, number, chosen),
        drawn=None if newest is None else draw(case.remap, newest, waited),
        newest=newest,
        effects=[effect(one, waited) for one in routed],
        change=None if change is None else _effect(call, *change),
        simulated=simulated,
    )


def _actions(remap: Remap) -> list[str]:
    """The decisions that its state allows."""
    return [action for action in ACTIONS if remap.state in TRANSITIONS[action][0]]


def _effect(call: PageCall, before: Sequence[Approved], after: Sequence[Approved]) -> Effect:
    try:
        return Effect(plan_of_change(call.desk.config, before, after).targets)
    except RedirectdError as error:
        return Effect(why_not=f"{error.where}: {error.why}")


def decide_remap(call: PageCall) -> Response:
    """Decides on it as it was shown, and leads to the next one; what is refused is said on its page."""
    number, chosen = number_in(call.path_value("name")) or 0, filter_of(call)
    action = call.form.get("action", "")
    if action == "note":
        return _note(call, number)
    if action not in ACTIONS:
        raise UsageError("action", f"there is no decision {printable(action, 40)!r}", f"use {', '.join(ACTIONS)}")
    following = next_after(call, number, chosen)
    is_approval = action == "approve"
    wanted = Verdicts(
        action=action,
        seen={number: call.form.get("version", "")},
        reason=call.form.get("reason", ""),
        contact=number_in(call.form.get("contact", "")) if is_approval else None,
        force=is_approval and call.form.get("force") == "yes",
        replace=frozenset(filter(None, map(number_in, call.form.getlist("replace")))) if is_approval else frozenset(),
    )
    if wanted.force and not wanted.reason.strip():
        raise UsageError("force", "what is forced needs a written reason", "write one")
    reply = call.desk.decide(call.visitor, wanted)
    for error in reply.refused.values():
        notice = PageNotice(f"not done: {error.why}", refused=reply.refused)
        against = error.against if isinstance(error, ContradictionError) else ()
        response = _shown(call, notice, against)
        response.status_code = 409
        return response
    notice = notice_of(action, reply)
    notice = replace(notice, text=f"remap {number}: {notice.text}", remap=number)
    path = QUEUE if following is None else f"/remaps/{following}"
    return NOTICES.lead_to(path, call.visitor, notice, **chosen)


def _note(call: PageCall, number: int) -> Response:
    reply = call.desk.note(call.visitor, number, call.form.get("version", ""), call.form.get("note", ""))
    notice = PageNotice("note written", reply.undo, remap=number)
    return NOTICES.lead_to(f"/remaps/{number}", call.visitor, notice, **filter_of(call))
