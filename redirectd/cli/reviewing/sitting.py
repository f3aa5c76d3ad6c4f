"""One sitting of the review: cards, keys, decisions, and the way back from each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from redirectd.cli.filters import Filters
from redirectd.cli.reviewing.card import card, proposal_lines, telling
from redirectd.cli.reviewing.keys import QUIT, Keys
from redirectd.cli.reviewing.words import (
    FILTER_HELP,
    HELP,
    KEYS,
    KEYS_APPROVED,
    NOTHING,
    few,
    filter_text,
    read_filter,
)
from redirectd.config.policy import Policy
from redirectd.errors import RedirectdError
from redirectd.review.attention import attention
from redirectd.review.case import Case, open_case
from redirectd.review.decide import Decision, revoke
from redirectd.review.page import ids, page
from redirectd.review.proposals import accept, decline, proposals
from redirectd.review.undo import Step, do_approve, do_confirm, do_reject, set_note, undo
from redirectd.sip.text import printable
from redirectd.store.database import Database
from redirectd.store.remap import State

PAGE = 100


@dataclass(slots=True)
class Sitting:
    """`clock` gives aware times, `say` prints text as it is; `width` is that of the terminal."""

    database: Database
    policy: Policy
    actor: str
    clock: Callable[[], datetime]
    keys: Keys
    say: Callable[[str], None]
    width: int = 80
    filters: Filters = field(default_factory=Filters)
    counts: dict[str, int] = field(default_factory=dict)
    _steps: list[Sequence[Step]] = field(default_factory=list)
    _waiting: list[int] = field(default_factory=list)
    _after: int | None = 0
    _contact: int | None = None
    _total: int = 0

    def run(self) -> None:
        """Until nothing is left or the person quits. What was decided stands, whatever ends it."""
        self._begin()
        if not self._waiting:
            self._line(NOTHING)
            return
        self._line(f"{self._total} waiting")
        while (number := self._next()) is not None:
            if not self._one(number):
                return
        self._line("that was all")

    @property
    def approved(self) -> int:
        """How many approvals of this sitting stand."""
        return self.counts.get("approved", 0)

    def _begin(self) -> None:
        """From the start of the filter: what is failing or stale first, then what is pending."""
        now = self.clock()
        with self.database.read() as connection:
            self._waiting = attention(connection, now=now) if self.filters.is_empty else []
            query = self.filters.query([State.PENDING], now)
            self._total = len(ids(connection, query, self.policy)) + len(self._waiting)
        self._after = 0
        self._fill()

    def _fill(self) -> None:
        if self._after is None or self._waiting:
            return
        with self.database.read() as connection:
            query = self.filters.query([State.PENDING], self.clock())
            found = page(connection, query, self.policy, after=self._after, limit=PAGE)
        self._waiting = [one.id for one in found.remaps]
        self._after = found.after

    def _next(self) -> int | None:
        self._fill()
        self._contact = None
        return self._waiting.pop(0) if self._waiting else None

    def _one(self, number: int) -> bool:
        """Shows a remap and asks until it is dealt with; False to quit."""
        shown = False
        while True:
            try:
                case = self._case(number)
            except RedirectdError as error:  # pruned or merged meanwhile
                self._error(error)
                return True
            if not shown:
                self._line("\n".join(["-" * self.width, *card(case, "", self.clock(), self.width)]))
                shown = True
            is_approved = case.remap.state is State.APPROVED
            self._line(KEYS_APPROVED if is_approved else KEYS)
            key = self.keys.key()
            if key == QUIT:
                return False
            if key == "s":
                self._count("skipped")
                return True
            outcome = self._act(key, case)
            if outcome == "done":
                return True
            shown = outcome != "again"

    def _act(self, key: str, case: Case) -> str:
        """What a key does: `done` with this remap, `again` for its card anew, `stay` for another key."""
        number = case.remap.id
        if key.isdecimal() and key != "0":
            return self._choose(case, key)
        actions: dict[str, Callable[[], str]] = {
            "a": lambda: self._approve(case, force=False),
            "F": lambda: self._approve(case, force=True),
            "r": lambda: self._reject(case),
            "k": lambda: self._keep(case),
            "c": lambda: self._choose(case, ""),
            "n": lambda: self._note(number),
            "e": lambda: self._evidence(case),
            "u": lambda: self._undo(number),
            "f": lambda: self._filter(number),
            "b": lambda: self._bulk(number),
            "p": self._proposals,
            "?": lambda: self._line(HELP),
        }
        if key not in actions:
            return self._line(f"the key {printable(key, 8)} does nothing here; ? shows all")
        try:
            return actions[key]()
        except RedirectdError as error:
            return self._error(error)

    def _case(self, number: int) -> Case:
        with self.database.read() as connection:
            return open_case(connection, number, self.policy, now=self.clock(), contact=self._contact)

    def _approve(self, case: Case, *, force: bool) -> str:
        number = case.remap.id
        if case.remap.new_uri is None and self._contact is None:
            return self._line(f"it has {len(case.remap.contacts)} Contacts: choose one with 1 to 9 or c, then a")
        reason = ""
        if force:
            reason = self.keys.line("why it is right all the same (Enter: leave it): ")
            if not reason:
                return "stay"
        elif case.needs_force:
            return self._line("it is held for a reason: F approves it all the same, and asks you why")
        decision = self._decision(reason, contact=self._contact, force=force)
        with self.database.begin() as connection:
            done, step = do_approve(connection, number, decision, self.policy)
        return self._done([step], "approved", f"remap {number} is approved: to {printable(done.new_uri or '')}")

    def _reject(self, case: Case) -> str:
        number = case.remap.id
        reason = self.keys.line("why (Enter: no reason): ")
        with self.database.begin() as connection:
            if case.remap.state is State.APPROVED:
                revoke(connection, number, self._decision(reason))
                self._count("revoked")
                self._line(f"remap {number} is revoked: the next apply no longer routes it")
                return "done"
            _, step = do_reject(connection, number, self._decision(reason))
        return self._done([step], "rejected", f"remap {number} is rejected")

    def _keep(self, case: Case) -> str:
        if case.remap.state is not State.APPROVED:
            return self._line("only an approved one can be kept; s skips")
        reason = self.keys.line("why (Enter: no reason): ")
        with self.database.begin() as connection:
            _, step = do_confirm(connection, case.remap.id, self._decision(reason), self.policy)
        return self._done([step], "kept", f"remap {case.remap.id} is kept")

    def _choose(self, case: Case, key: str) -> str:
        contacts = case.remap.contacts
        if case.remap.state is not State.PENDING or len(contacts) < 2:
            return self._line("there is no choice of Contacts")
        if not key:
            for number, one in enumerate(contacts, 1):
                self._line(f"  {number:2} {printable(one.uri)}  q={one.q:g}")
            key = self.keys.line(f"Contact 1 to {len(contacts)} (Enter: none): ")
        if not key.isdecimal() or not 1 <= int(key) <= len(contacts):
            return self._line("none is chosen")
        self._contact = int(key)
        return "again"

    def _note(self, number: int) -> str:
        text = printable(self.keys.line("note: "), 500)
        with self.database.begin() as connection:
            _, step = set_note(connection, number, text, self._decision(""))
        self._steps.append([step])
        return self._line("noted")

    def _evidence(self, case: Case) -> str:
        for one in case.evidence:
            self._line("\n".join(telling(one, self.width)))
        return "stay"

    def _undo(self, number: int) -> str:
        if not self._steps:
            return self._line("there is nothing to undo")
        steps = self._steps.pop()
        decision = self._decision("")
        with self.database.begin() as connection:
            for step in reversed(steps):
                undo(connection, step, decision, self.policy)
        words = {"approve": "approved", "reject": "rejected", "confirm": "kept"}
        for step in steps:
            if step.action in words:
                self.counts[words[step.action]] -= 1
        if steps[0].action == "note":
            return self._line("the note is again what it was")
        back = [step.before.id for step in steps]
        self._line(f"undone: {few(back)} {'to be looked at' if steps[0].action == 'confirm' else 'pending'} again")
        self._waiting = [*back[:PAGE], *(one for one in [number, *self._waiting] if one not in back)]
        return "done"

    def _filter(self, number: int) -> str:
        text = self.keys.line(FILTER_HELP)
        chosen = read_filter(text)
        if chosen is None:
            return self._line("no filter reads so; the words are peer=, domain=, flag=, kind= and older=")
        before, self.filters = self.filters, chosen
        try:
            self._begin()
        except RedirectdError:
            self.filters = before
            raise
        if not self._waiting:
            self._line("nothing passes this filter; the one before is kept")
            self.filters = before
            self._begin()
            self._waiting = [number, *(one for one in self._waiting if one != number)]
            return "stay"
        self._line(f"{self._total} waiting")
        return "done"

    def _bulk(self, number: int) -> str:
        """Everything that passes the filter, once its number was typed."""
        with self.database.read() as connection:
            wanted = ids(connection, self.filters.query([State.PENDING], self.clock()), self.policy)
        shown = filter_text(self.filters) or "no filter"
        self._line(f"{len(wanted)} pending remaps ({shown}): a approve all, r reject all, any other key neither")
        action = self.keys.key()
        if action not in {"a", "r"} or not wanted:
            return self._line("nothing was done")
        verb = "approve" if action == "a" else "reject"
        if self.keys.line(f"type {len(wanted)} to {verb} them: ") != str(len(wanted)):
            return self._line("that is not the number: nothing was done")
        reason = self.keys.line("why (Enter: no reason): ")
        steps, refused = self._decide_all(wanted, verb, self._decision(reason))
        if steps:
            self._steps.append(steps)
        word = "approved" if action == "a" else "rejected"
        self.counts[word] = self.counts.get(word, 0) + len(steps)
        self._line(f"{len(steps)} {word}, {len(refused)} refused; u takes all of it back")
        for one, why in list(refused.items())[:5]:
            self._line(f"  remap {one}: {printable(why, 200)}")
        done = {step.before.id for step in steps}
        self._waiting = [one for one in self._waiting if one not in done]
        return "done" if number in done else "stay"

    def _proposals(self) -> str:
        """Lists what could be one gateway move, and approves or rejects one of them for good."""
        with self.database.read() as connection:
            found = proposals(connection, self.policy)
        if not found:
            return self._line("there is nothing to propose: no host of which most users moved alike")
        for number, one in enumerate(found[:9], 1):
            self._line("\n".join(proposal_lines(number, one, self.width)))
        key = self.keys.line(f"a or r with a number, such as a1 (1 to {min(9, len(found))}, Enter: none): ")
        if len(key) != 2 or key[0] not in "ar" or not key[1].isdecimal() or not 1 <= int(key[1]) <= min(9, len(found)):
            return self._line("nothing was done")
        chosen = found[int(key[1]) - 1]
        reason = self.keys.line("why (Enter: no reason): ")
        decide, word = (accept, "approved") if key[0] == "a" else (decline, "rejected")
        with self.database.begin() as connection:
            made, step = decide(connection, chosen, self._decision(reason), self.policy)
        self._done([step], word, f"gateway remap {made.id} is {word}: {made.old_uri} to {made.new_uri}")
        if key[0] == "a":
            self._line(
                f"{len(chosen.covered)} remaps say the same of single users: redundant where a dispatcher routes this\n"
                "host, still needed in tables of users (f flag=redundant, then b, decides on them)"
            )
        return "stay"

    def _decide_all(self, wanted: Sequence[int], verb: str, decision: Decision) -> tuple[list[Step], dict[int, str]]:
        """Each in its own transaction: a refused one leaves the others done, and no lock is held for minutes."""
        steps: list[Step] = []
        refused: dict[int, str] = {}
        for one in wanted:
            try:
                with self.database.begin() as connection:
                    if verb == "approve":
                        _, step = do_approve(connection, one, decision, self.policy)
                    else:
                        _, step = do_reject(connection, one, decision)
                steps.append(step)
            except RedirectdError as error:
                refused[one] = error.why
        return steps, refused

    def _done(self, steps: Sequence[Step], word: str, text: str) -> str:
        self._steps.append(steps)
        self._count(word)
        self._line(text)
        return "done"

    def _decision(self, reason: str, *, contact: int | None = None, force: bool = False) -> Decision:
        return Decision(actor=self.actor, at=self.clock(), reason=printable(reason, 500), contact=contact, force=force)

    def _count(self, word: str) -> None:
        self.counts[word] = self.counts.get(word, 0) + 1

    def _line(self, text: str) -> str:
        self.say(f"{text}\n")
        return "stay"

    def _error(self, error: RedirectdError) -> str:
        return self._line(f"refused: {printable(error.why)}\n  what to do: {printable(error.what_to_do)}")
