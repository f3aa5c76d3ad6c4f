"""`redirectd review`: one pending remap after another, one key each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from redirectd.cli.app import App, pass_app
from redirectd.cli.filters import Filters, filter_options
from redirectd.cli.output import say, show_error
from redirectd.errors import RedirectdError, UsageError
from redirectd.sip.text import printable

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from redirectd.review.decide import Decision
    from redirectd.store.remap import Remap

PAGE = 100
EVIDENCE = 2
"""Tellings shown of each remap; `redirectd show` has all."""

KEYS = "[a]pprove  [1-9] approve that Contact  [f]orce  [r]eject  [s]kip  [u]ndo  [q]uit"


@click.command("review")
@filter_options
@pass_app
def review_command(app: App, filters: Filters) -> None:
    """Decide on one pending remap after another, with its evidence and what routing does today.

    Keys: a approves, 1 to 9 approves with that Contact, f approves a held one with a written reason, r rejects,
    s skips, u undoes the last decision, q quits.
    """
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        raise UsageError(
            "redirectd review", "it needs a terminal", "use 'redirectd pending' and 'redirectd approve ID' instead"
        )
    _Review(app, filters).run()


@dataclass(slots=True)
class _Review:
    """One sitting. `done` are the decisions that can be undone, newest last."""

    app: App
    filters: Filters
    done: list[tuple[str, int]] = field(default_factory=list)
    skipped: int = 0

    def run(self) -> None:
        """Shows and asks until nothing is left or somebody quits."""
        after = 0
        while page := self._page(after):
            for remap in page:
                if not self._one(remap.id):
                    self._end()
                    return
            after = page[-1].id
        if not self.done and not self.skipped:
            say("nothing waits for review; 'redirectd ingest FILE' reads a log")
            return
        self._end()

    def _page(self, after: int) -> list[Remap]:
        from redirectd.store.remap import State

        with self.app.database.read() as connection:
            rules, now = self.app.config.rules(), self.app.now()
            return self.filters.find(connection, [State.PENDING], rules, now, after_id=after, limit=PAGE)

    def _one(self, number: int) -> bool:
        """Shows a remap and asks until it is dealt with; False to quit."""
        self._show(number)
        while True:
            say(KEYS)
            key = click.getchar().lower()
            if key in {"q", "\x03", "\x04"}:
                return False
            if key == "s":
                self.skipped += 1
                return True
            if key == "u":
                self._undo()
            elif key in {"a", "r", "f"} or (key.isdecimal() and key != "0"):
                if self._decide(number, key):
                    return True
            else:
                say("that key does nothing here")

    def _show(self, number: int) -> None:
        from redirectd.cli.remapview import show_one
        from redirectd.plan.lookup import lookup
        from redirectd.review.decide import load
        from redirectd.review.holds import with_holds
        from redirectd.sip.uri import SipUri, parse_uri
        from redirectd.store import audit, remaps

        now = self.app.now()
        with self.app.database.read() as connection:
            remap = with_holds(load(connection, number), self.app.config.rules())
            evidence = remaps.evidence_of(connection, number)
            entries = audit.entries_of(connection, number)
            old = parse_uri(remap.old_uri)
            today = lookup(remaps.approved(connection, now=now), old) if isinstance(old, SipUri) else None
        say("\n" + "-" * 60)
        show_one(remap, evidence[-EVIDENCE:], entries, now)
        if len(evidence) > EVIDENCE:
            say(f"  ... and {len(evidence) - EVIDENCE} tellings more: redirectd show {number}")
        moved = today.result if today else None
        say(f"  today     {'routed to ' + printable(str(moved)) if moved else 'not moved'}")

    def _decide(self, number: int, key: str) -> bool:
        from redirectd.review import decide

        reason = ""
        if key in {"f", "r"}:
            reason = click.prompt("why", default="", show_default=False)
        rules = self.app.config.rules()
        contact = int(key) if key.isdecimal() else None
        decision = decide.Decision(
            actor=self.app.actor, at=self.app.now(), reason=reason, contact=contact, force=key == "f"
        )

        def approve(connection: Connection, which: int, by: Decision) -> Remap:
            return decide.approve(connection, which, by, rules)

        act: Callable[[Connection, int, Decision], Remap] = decide.reject if key == "r" else approve
        try:
            with self.app.database.begin() as connection:
                found = act(connection, number, decision)
        except RedirectdError as error:
            show_error(error)
            return False
        self.done.append(("reject" if key == "r" else "approve", number))
        say(f"{number} is {found.state.value}")
        return True

    def _undo(self) -> None:
        """Puts the last decided remap back to pending; both decisions stay in the audit."""
        from redirectd.review import decide

        if not self.done:
            say("there is nothing to undo")
            return
        action, number = self.done.pop()
        decision = decide.Decision(actor=self.app.actor, at=self.app.now(), reason="undone in review")
        try:
            with self.app.database.begin() as connection:
                if action == "approve":
                    decide.revoke(connection, number, decision)
                decide.reopen(connection, number, decision)
        except RedirectdError as error:
            show_error(error)
            return
        say(f"{number} is pending again: redirectd show {number}")

    def _end(self) -> None:
        approved = sum(action == "approve" for action, _ in self.done)
        say(f"\n{approved} approved, {len(self.done) - approved} rejected, {self.skipped} skipped")
        if approved:
            say("next: redirectd plan, then redirectd apply")
