"""From a unit's verdict to what is recorded and reported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from redirectd.apply.journal import FileOutcome
from redirectd.apply.result import OutcomeName, TargetOutcome
from redirectd.apply.transitions import finished, gone_back, put_off
from redirectd.apply.unit import ByServer, ProofResult, StagedFile, questions
from redirectd.errors import PeerError, VerifyError
from redirectd.plan.target import Explaining
from redirectd.plan.target_spec import NO_RELOAD
from redirectd.store.generations import GenerationOutcome
from redirectd.store.target_states import TargetState

WITH_THE_OTHERS = "put back with the other targets"


def file_outcomes(items: Iterable[StagedFile], verdict: ProofResult) -> dict[str, FileOutcome]:
    """Give what became of each file."""
    outcomes = {}
    for item in items:
        if verdict.failed:
            stage, why = verdict.failed.get(item.name, ("", WITH_THE_OTHERS))
            outcomes[item.name] = FileOutcome(GenerationOutcome.ROLLED_BACK, f"{stage}: {why}" if stage else why)
        elif item.name in verdict.down or item.spec.control == NO_RELOAD or not questions(item):
            outcomes[item.name] = FileOutcome(GenerationOutcome.INSTALLED, verdict.down.get(item.name, ""))
        else:
            outcomes[item.name] = FileOutcome(GenerationOutcome.VERIFIED)
    return outcomes


def states_after(items: Iterable[StagedFile], verdict: ProofResult, now: datetime) -> list[TargetState]:
    """Give each target's state: at rest, or still to be finished."""
    states = []
    for item in items:
        state = item.state
        if verdict.failed:
            doubt = verdict.unproven.get(item.name)
            if item.name in verdict.restored:
                state = replace(gone_back(state), nodes=_some(item, verdict.not_back))
            elif item.name in verdict.failed:
                doubt = verdict.failed[item.name][1]
        else:
            doubt = verdict.down.get(item.name)
            if left := _some(item, verdict.away):  # what others have proven is what an apply goes back to
                state = replace(state, backup=None, old_sha256=state.sha256, waiting_sha256="", nodes=left)
        states.append(put_off(state, doubt, now) if doubt is not None else finished(state, now))
    return states


def _some(item: StagedFile, found: ByServer) -> tuple[str, ...]:
    """Give the servers that are left where others have proven it; nothing for all, or none."""
    left = tuple(found.get(item.name, {}))
    return left if len(left) < len(item.spec.controls) else ()


def verify_error(items: Sequence[StagedFile], verdict: ProofResult, number: int) -> VerifyError:
    """Say which stage failed where, and what is in service now."""
    failed = [item for item in items if item.name in verdict.failed]
    failures = [f"{item.name}: {': '.join(verdict.failed[item.name])}" for item in failed]
    unproven = "; ".join(f"{name}: {why}" for name, why in verdict.unproven.items())
    after = "what was there before is back in service; see the server's log, then plan and apply again"
    causes = [_usual_cause(item, verdict) for item in failed]
    if unproven:
        after = f"the old files are back, but not proven in service ({unproven}); redirectd goes on trying, see status"
    usual = "; ".join(dict.fromkeys(cause for cause in causes if cause))
    return VerifyError(
        f"generation {number}", "; ".join(failures), f"usual cause: {usual}; {after}" if usual else after
    )


def _usual_cause(item: StagedFile, verdict: ProofResult) -> str | None:
    target = item.spec.target
    stage, why = verdict.failed[item.name]
    cause = target.usual_cause(why) if isinstance(target, Explaining) else None
    if cause is None and stage == "reload":
        what = f"table {item.spec.path}" if item.spec.database else f"file {item.spec.path}"
        return f"the server's user may not read the {what}, or the server needs more than `timeout` for its reload"
    return cause


def waiting_error(down: dict[str, str]) -> PeerError:
    """Say that files are installed which no server has taken yet."""
    return PeerError(
        ", ".join(down),
        "installed, not reloaded: " + "; ".join(dict.fromkeys(down.values())),
        "start the server, or restart it with the module it lacks; redirectd retries by itself where it runs as a "
        "service, `redirectd apply` retries now",
    )


def target_outcomes(files: dict[str, FileOutcome]) -> dict[str, TargetOutcome]:
    """Give the outcomes as the contract names them."""
    names: dict[GenerationOutcome, OutcomeName] = {
        GenerationOutcome.INSTALLED: "installed",
        GenerationOutcome.VERIFIED: "verified",
        GenerationOutcome.ROLLED_BACK: "rolled-back",
    }
    return {name: TargetOutcome(names[file.outcome], file.error or None) for name, file in files.items()}
