"""What a node does for the console: it publishes its plan, and judges and runs the applies that it was asked for.

The console's process has no right to any routing file. It writes requests into the database; whether one counts is
decided here, by this node's own configuration, plan, limits, holds and pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from redirectd.apply.applier import ApplyRequest
from redirectd.apply.result import ApplyResult
from redirectd.config.model import Config
from redirectd.errors import RedirectdError, RefusedError
from redirectd.plan.report import to_json
from redirectd.service.applying import plan_of
from redirectd.sip.text import printable
from redirectd.store import accounts, audit, tokens
from redirectd.store.apply_requests import (
    PublishedPlan,
    RequestedApply,
    RequestState,
    answer_request,
    publish_plan,
    unanswered,
)
from redirectd.store.audit import AuditEntry
from redirectd.store.database import Database
from redirectd.store.decided import mark_of
from redirectd.store.generations import history
from redirectd.store.tokens import Role
from redirectd.store.turns import take_turn

ANYBODY = "*"
LONGEST_DIFF = 64 * 1024
LONGEST_LIST = 200
_LONGEST_AGE = timedelta(minutes=5)
_log = structlog.get_logger("redirectd.apply")


class RemoteApplies:
    """One node's part; `apply` applies what is approved, and gives what came of it."""

    def __init__(
        self, config: Config, apply: Callable[[ApplyRequest], ApplyResult], paused: Callable[[], bool]
    ) -> None:
        self._config, self._apply, self._paused = config, apply, paused
        self._published: tuple[object, datetime] | None = None

    def publish(self, database: Database) -> None:
        """Publishes the plan, worked out anew after a decision, an apply, and five minutes. Raises StoreError."""
        now = datetime.now(UTC)
        with database.read() as connection:
            newest = [one.number for one in history(connection, self._config.node, 1)]
            mark = None if (decided := mark_of(connection, now)) is None else (decided, newest)
        if self._published is not None and mark is not None:
            known, at = self._published
            if known == mark and now - at < _LONGEST_AGE:
                return
        plan: Mapping[str, Any] | None = None
        why = ""
        try:
            found = plan_of(self._config, database)
            plan = None if found.error is not None else _shortened(to_json(found))
            why = "" if found.error is None else printable(str(found.error), 500)
        except RedirectdError as error:
            why = printable(str(error), 500)
        appliers = tuple(self._config.schedule.apply_requests)
        with database.begin() as connection:
            publish_plan(connection, PublishedPlan(self._config.node, now, plan, why, appliers))
        self._published = mark, now

    def run(self, database: Database) -> None:
        """Answers each request of this node. Raises StoreError."""
        with database.read() as connection:
            waiting = unanswered(connection, self._config.node)
        for one in waiting:
            self._answer(database, one)
        if waiting:
            self._published = None
            self.publish(database)

    def _answer(self, database: Database, one: RequestedApply) -> None:
        now = datetime.now(UTC)
        if one.state is RequestState.RUNNING:
            why = "the service ended while it was at it"
            self._note(database, one, RequestState.FAILED, _said(why, f"see 'redirectd history' on {one.node}"))
            return
        if one.expires_at <= now:
            why = f"{one.node} did not look at it in time"
            self._note(database, one, RequestState.EXPIRED, _said(why, "ask again"))
            return
        if (refusal := self._refusal(one) or _lost(database, one, now)) is not None:
            self._note(database, one, RequestState.REFUSED, refusal)
            return
        with database.begin() as connection:
            if not answer_request(connection, one.id, RequestState.RUNNING, {}, now=now):
                return
        try:
            result = self._apply(ApplyRequest(actor=one.account, checksums=[one.checksum], wait=10))
        except RedirectdError as error:
            self._note(database, one, _state_of(error), _error(error))
            return
        except Exception:
            self._note(database, one, RequestState.FAILED, _said("a defect in redirectd", f"see the log of {one.node}"))
            raise
        answer: dict[str, object] = {
            "generation": result.generation,
            "targets": {name: each.outcome for name, each in result.outcomes.items()},
            "waiting": list(result.waiting),
        }
        if result.error is not None:
            answer |= _error(result.error)
        self._note(database, one, RequestState.DONE if result.error is None else _state_of(result.error), answer)

    def _refusal(self, one: RequestedApply) -> Mapping[str, str] | None:
        """Why this node does nothing for a request, whatever the plan is; None where it may be tried."""
        appliers = self._config.schedule.apply_requests
        if ANYBODY not in appliers and one.account not in appliers:
            why = f"{printable(one.account, 100)} is not in [schedule] apply_requests of {one.node}"
            return _said(why, "ask somebody who is, or add the account there")
        if len(one.checksum) != _CHECKSUM or not set(one.checksum) <= set("0123456789abcdef"):
            return _said("its checksum is not one", "look at the plan again, then ask")
        if self._paused():
            return _said(f"applies are paused on {one.node}", "ask again after the window in [schedule] pause")
        return None

    def _note(self, database: Database, one: RequestedApply, state: RequestState, answer: Mapping[str, object]) -> None:
        """Writes the answer, audited, and logs it."""
        now = datetime.now(UTC)
        with database.begin() as connection:
            take_turn(connection, audit.TURN)
            if not answer_request(connection, one.id, state, answer, now=now):
                return
            kept = {key: answer[key] for key in ("why", "generation") if answer.get(key) is not None}
            detail = {"request": one.id, "node": one.node, "checksum": one.checksum, "state": state.value, **kept}
            entry = AuditEntry(
                at=now, actor=one.account, action="requested-apply", detail={**detail, "via": dict(one.via)}
            )
            audit.append(connection, entry)
        shown = {"request": one.id, "account": printable(one.account, 100), "state": state.value, **kept}
        _log.info("requested_apply", **shown)


_CHECKSUM = 64


def _lost(database: Database, one: RequestedApply, now: datetime) -> Mapping[str, str] | None:
    """Why who asked may no longer: the local account or the token was ended, or has a lesser role, since then.

    Of other accounts the database has no role: a session's is that of its sign-in or of a proxy's header.
    """
    kind, _, name = one.account.partition(":")
    by, _, number = one.via.get("by", "").partition(" ")
    with database.read() as connection:
        if by == "token":
            of_owner = tokens.tokens(connection, one.account)
            role = next((each.role for each in of_owner if str(each.id) == number and each.expires_at > now), None)
        elif kind == "local":
            account = accounts.account_of(connection, name)
            role = None if account is None or account.is_disabled else account.role
        else:
            return None
    if role is not None and role.rank >= Role.APPLIER.rank:
        return None
    return _said(f"{printable(one.account, 100)} may not ask for it any more", "ask somebody who is an applier")


def _state_of(error: RedirectdError) -> RequestState:
    return RequestState.REFUSED if isinstance(error, RefusedError) else RequestState.FAILED


def _said(why: str, what_to_do: str) -> dict[str, str]:
    return {"why": why, "what_to_do": what_to_do}


def _error(error: RedirectdError) -> dict[str, object]:
    said = _said(printable(f"{error.where}: {error.why}", 1000), printable(error.what_to_do, 500))
    return dict(said)


def _shortened(plan: dict[str, object]) -> dict[str, object]:
    """A plan with no diff of more than 64 KiB and no list of more than 200: `diff_cut` and `lists_cut` say of what."""
    targets = plan["targets"]
    assert isinstance(targets, list), "as to_json makes it"
    short = [
        {**_cut(one), "diff": one["diff"][:LONGEST_DIFF], "diff_cut": len(one["diff"]) > LONGEST_DIFF}
        if isinstance(one["diff"], str)
        else _cut(one)
        for one in targets
    ]
    return _cut({**plan, "targets": []}) | {"targets": short, "units": plan["units"]}


def _cut(part: Mapping[str, object]) -> dict[str, object]:
    """It with the beginnings of its long lists: a target may refuse each of 100,000 remaps."""
    cut = [key for key, value in part.items() if isinstance(value, list) and len(value) > LONGEST_LIST]
    short = {key: value[:LONGEST_LIST] if isinstance(value, list) else value for key, value in part.items()}
    return {**short, "lists_cut": cut} if cut else short
