"""Generations: what was installed, when and who did it, with the files themselves."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, Row, func, insert, select, update

from redirectd.store.schema import generation, generation_file


class GenerationOutcome(StrEnum):
    """What became of a generation, and of each of its files."""

    INSTALLING = "installing"
    """Under way, or killed on its way: the next apply finishes it."""
    INSTALLED = "installed"
    """In place and parsed back; no server was asked, since there is none or it could not be reached."""
    VERIFIED = "verified"
    """In place, reloaded and proven by the server."""
    ROLLED_BACK = "rolled-back"
    """Did not prove itself; what was there before is back."""
    INTERRUPTED = "interrupted"
    """Killed before any file was changed."""


_STANDING = (GenerationOutcome.INSTALLED, GenerationOutcome.VERIFIED)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of an apply as history shows it; `target` is empty where the step is of all of them."""

    stage: str
    target: str
    outcome: str
    error: str = ""


@dataclass(frozen=True, slots=True)
class GenerationFile:
    """One file of a generation; `content` is stored compressed."""

    target: str
    kind: str
    path: str
    sha256: str
    content: bytes
    outcome: GenerationOutcome = GenerationOutcome.INSTALLING
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One apply that changed something, or tried to. `number` is 0 until it is stored."""

    node: str
    created_at: datetime
    actor: str
    cause: str
    checksum: str
    plan: Mapping[str, object]
    number: int = 0
    outcome: GenerationOutcome = GenerationOutcome.INSTALLING
    stages: tuple[Stage, ...] = field(default=())


def add_generation(connection: Connection, new: Generation, files: Iterable[GenerationFile]) -> int:
    """Store a generation with its files and give its number."""
    result = connection.execute(
        insert(generation).values(
            node=new.node,
            created_at=new.created_at,
            actor=new.actor,
            cause=new.cause,
            checksum=new.checksum,
            plan=json.dumps(new.plan),
            outcome=new.outcome.value,
            stages=json.dumps([asdict(stage) for stage in new.stages]),
        )
    )
    number = int(result.inserted_primary_key[0])  # type: ignore[index] # an insert of one row always has one
    for each in files:
        # A million entries are 100 MB and compress to a tenth, below what MariaDB takes in one statement.
        packed = zlib.compress(each.content, 1)
        row = asdict(each) | {"number": number, "outcome": each.outcome.value, "content": packed}
        connection.execute(insert(generation_file).values(**row))
    return number


def close_generation(
    connection: Connection, number: int, outcome: GenerationOutcome, stages: Sequence[Stage] = ()
) -> None:
    """Write what became of a generation; `stages` are added to those it has."""
    had = connection.scalar(select(generation.c.stages).where(generation.c.number == number))
    known = json.loads(had) if had else []
    connection.execute(
        update(generation)
        .where(generation.c.number == number)
        .values(outcome=outcome.value, stages=json.dumps(known + [asdict(stage) for stage in stages]))
    )


def close_file(connection: Connection, number: int, target: str, outcome: GenerationOutcome, error: str = "") -> None:
    """Write what became of one file of a generation."""
    connection.execute(
        update(generation_file)
        .where(generation_file.c.number == number, generation_file.c.target == target)
        .values(outcome=outcome.value, error=error)
    )


def get_generation(connection: Connection, number: int) -> Generation | None:
    """Give one generation."""
    row = connection.execute(select(generation).where(generation.c.number == number)).one_or_none()
    return None if row is None else _generation(row)


def history(
    connection: Connection, node: str, limit: int = 50, targets: Collection[str] | None = None
) -> list[Generation]:
    """Give the last generations of `node`, newest first; with `targets`, those that had a file of one of them."""
    query = select(generation).where(generation.c.node == node)
    if targets is not None:
        numbers = select(generation_file.c.number).where(generation_file.c.target.in_(targets))
        query = query.where(generation.c.number.in_(numbers))
    rows = connection.execute(query.order_by(generation.c.number.desc()).limit(limit))
    return [_generation(row) for row in rows]


def files_of(connection: Connection, number: int, *, with_content: bool = True) -> list[GenerationFile]:
    """Give the files that a generation changed, by target name; without their content where only they are named."""
    columns = [one for one in generation_file.c if with_content or one is not generation_file.c.content]
    rows = connection.execute(
        select(*columns).where(generation_file.c.number == number).order_by(generation_file.c.target)
    )
    return [_file(row) for row in rows]


def file_outcomes(connection: Connection, number: int) -> list[GenerationOutcome]:
    """Give what became of each file of a generation, without the files."""
    rows = connection.execute(select(generation_file.c.outcome).where(generation_file.c.number == number))
    return [GenerationOutcome(row.outcome) for row in rows]


def standing_number(
    connection: Connection, node: str, before: int | None = None, targets: Collection[str] | None = None
) -> int | None:
    """Give the last generation of `node` with a file that was not rolled back, or the last one below `before`.

    With `targets`, only files of those count.
    """
    query = (
        select(func.max(generation.c.number))
        .join(generation_file, generation_file.c.number == generation.c.number)
        .where(generation.c.node == node, generation_file.c.outcome.in_(_STANDING))
    )
    if before is not None:
        query = query.where(generation.c.number < before)
    if targets is not None:
        query = query.where(generation_file.c.target.in_(targets))
    found = connection.scalar(query)
    return None if found is None else int(found)


def standing_targets(connection: Connection, node: str, number: int) -> list[str]:
    """Give the targets whose file of generation `number` was not rolled back; none where `node` has no such one."""
    rows = connection.execute(
        select(generation_file.c.target)
        .join(generation, generation.c.number == generation_file.c.number)
        .where(generation.c.node == node, generation.c.number == number, generation_file.c.outcome.in_(_STANDING))
        .order_by(generation_file.c.target)
    )
    return [row.target for row in rows]


def of_one_apply(connection: Connection, number: int) -> list[int]:
    """Give the generations that were made by the same apply as `number`, one a unit, in their order."""
    at = select(generation.c.created_at, generation.c.node).where(generation.c.number == number).subquery()
    rows = connection.execute(
        select(generation.c.number)
        .join(at, (generation.c.created_at == at.c.created_at) & (generation.c.node == at.c.node))
        .order_by(generation.c.number)
    )
    return [row.number for row in rows]


def files_at(connection: Connection, node: str, number: int) -> dict[str, GenerationFile]:
    """Give every target's file as it was after generation `number`: a generation stores what it changed."""
    newest = (
        select(generation_file.c.target, func.max(generation_file.c.number).label("number"))
        .join(generation, generation.c.number == generation_file.c.number)
        .where(
            generation.c.node == node,
            generation.c.number <= number,
            generation_file.c.outcome.in_(_STANDING),
        )
        .group_by(generation_file.c.target)
        .subquery()
    )
    rows = connection.execute(
        select(generation_file).join(
            newest,
            (generation_file.c.target == newest.c.target) & (generation_file.c.number == newest.c.number),
        )
    )
    return {row.target: _file(row) for row in rows}


def _generation(row: Row[tuple[object, ...]]) -> Generation:
    return Generation(
        number=row.number,
        node=row.node,
        created_at=row.created_at,
        actor=row.actor,
        cause=row.cause,
        checksum=row.checksum,
        plan=json.loads(row.plan),
        outcome=GenerationOutcome(row.outcome),
        stages=tuple(Stage(**stage) for stage in json.loads(row.stages)),
    )


def _file(row: Row[tuple[object, ...]]) -> GenerationFile:
    return GenerationFile(
        row.target,
        row.kind,
        row.path,
        row.sha256,
        zlib.decompress(row.content) if "content" in row._fields else b"",
        GenerationOutcome(row.outcome),
        row.error,
    )
