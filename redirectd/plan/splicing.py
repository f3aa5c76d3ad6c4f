"""The short way to a plan: of a file that is known, only the entries that decisions since then concern are made anew.

What is known is the file that redirectd wrote last (by its hash) and up to which decision the approved remaps were
read for it. Where anything is less simple than one entry for each remap, the plan is made of all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from redirectd.plan.entry_file import EntryFile
from redirectd.plan.limits import Changes
from redirectd.plan.route import Approved, EffectiveTable
from redirectd.plan.target import CannotCarryError, Rendered, Spliceable


@dataclass(frozen=True, slots=True)
class RecentDecisions:
    """What a table of routes was made anew for: `before` were approved then, `table` has the routes of now.

    Both hold whatever leads to a remap that was decided on, and whatever that leads to; `gone` are no more approved.
    """

    before: Sequence[Approved]
    table: EffectiveTable
    gone: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Splice:
    """A target's file with what decisions changed, the changes, and the token of the file that is in place."""

    rendered: Rendered
    changes: Changes
    standing: str


def splice(target: Spliceable, content: bytes, recent: RecentDecisions) -> Splice | None:
    """Bring the entries of recent decisions into a file that was made of all before; None where only the long way will.

    The file had one entry for each remap that the target speaks for (`is_simple`), and so it has then.
    """
    table = recent.table
    if table.conflicts or table.cycles or table.too_deep:
        return None
    try:
        file = EntryFile(content, target.line_form)
        old = [key for one in recent.before if one.kind == target.moves for key in target.keys(one.old)]
        after = target.render(table.routes, None)
        edits = _edits(file, old, after)
        if edits is None or not _ends(target, table, {*old, *after.entries}, file, after):
            return None
        new = file.spliced(edits) if edits else file
    except ValueError:  # a URI that can't be written, or another file than the target writes
        return None
    create = sorted(key for key in edits if key not in file)
    delete = sorted(key for key, value in edits.items() if value is None)
    update = sorted(edits.keys() - {*create, *delete})
    changes = Changes(tuple(create), tuple(update), tuple(delete), len(new) - len(create) - len(update))
    return Splice(Rendered(new.content, new, token=new.token, carried=after.carried), changes, file.token)


def is_simple(table: EffectiveTable, rendered: Rendered) -> bool:
    """Say if a file has exactly one entry for each remap it speaks for, and nothing was left out of it."""
    left_out = table.conflicts or table.cycles or table.too_deep or rendered.refused or rendered.conflicts
    return not left_out and len(rendered.entries) == len(rendered.carried)


def _edits(file: EntryFile, old: Sequence[str], after: Rendered) -> dict[str, str | None] | None:
    """Give the entries that change; None where keys are not the remaps' own, one each."""
    keys = set(old)
    if after.refused or after.conflicts or len(after.entries) != len(after.carried) or len(keys) != len(old):
        return None
    if any(key not in file for key in keys) or any(key in file for key in after.entries.keys() - keys):
        return None
    wanted = {key: after.entries.get(key) for key in keys | after.entries.keys()}
    return {key: value for key, value in wanted.items() if file.get(key) != value}


def _ends(target: Spliceable, table: EffectiveTable, own: set[str], file: EntryFile, after: Rendered) -> bool:
    """Say if no new URI of these routes is looked up by another entry: then they close no circle (R34)."""
    for route in table.routes:
        if route.kind != target.moves:
            continue
        try:
            keys = set(target.keys(route.new)) - set(target.keys(route.old))
        except CannotCarryError:
            continue  # nobody can ask for it by a key
        if any(key in after.entries or (key in file and key not in own) for key in keys):
            return False
    return True
