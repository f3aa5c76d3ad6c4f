"""What the REST API takes and gives: models that requests are read by, and types of the replies."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import TypedDict

from redirectd.console.access import DeniedError
from redirectd.console.desk import MOST
from redirectd.console.node_applies import PlanJson, RequestJson
from redirectd.review.documents import EntryJson, RemapJson, ShownJson, TokenJson
from redirectd.sip.text import printable
from redirectd.store.remap import State

GREATEST_ID = 2**63 - 1
Action = Literal["approve", "reject", "revoke", "reopen"]
ACTIONS: tuple[Action, ...] = ("approve", "reject", "revoke", "reopen")
Model = TypeVar("Model", bound=BaseModel)
Id = Annotated[int, Field(ge=1, le=GREATEST_ID)]
Version = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="The remap's `version` as it was looked at.")]
Reason = Annotated[str, Field(max_length=500, description="Why; kept in the audit.")]


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RemapsQuery(_Given):
    """Which remaps, and which page of them."""

    state: list[State] = Field(default_factory=list, description="Only these states; may be repeated.")
    kind: Literal["user", "gateway", "registrar"] | None = Field(default=None, description="Only this kind.")
    peer: str | None = Field(default=None, max_length=200, description="Reported by a peer containing this text.")
    domain: str | None = Field(default=None, max_length=200, description="Old or new host contains this text.")
    flag: str | None = Field(
        default=None,
        max_length=32,
        description="With this flag; `none`: without any; `held`: with any that holds it; `not-in-force`: approved, "
        "and in service on no node.",
    )
    older_than: str | None = Field(default=None, max_length=32, description="Last seen longer ago, such as 30d.")
    after: int = Field(default=0, ge=0, le=GREATEST_ID, description="Only remaps with a higher id: the next page.")
    limit: int = Field(default=50, ge=1, le=500, description="Remaps of a page.")


class AuditQuery(_Given):
    """Which decisions."""

    remap: Id | None = Field(default=None, description="Only about this remap.")
    after: int = Field(default=0, ge=0, le=GREATEST_ID, description="Only entries with a higher id.")
    limit: int = Field(default=100, ge=1, le=1000, description="Entries of a page.")


class EventsQuery(_Given):
    """Events after a cursor."""

    since: int = Field(default=0, ge=0, le=GREATEST_ID, description="The cursor of the last answer.")
    limit: int = Field(default=100, ge=1, le=1000, description="Events of a page.")


class GenerationsQuery(_Given):
    """Generations of a node."""

    node: str | None = Field(default=None, max_length=64, description="Another node than the console's own.")
    limit: int = Field(default=50, ge=1, le=500, description="At most this many.")


class DecisionBody(_Given):
    """Why, and for an approval how."""

    reason: Reason = ""
    contact: int | None = Field(default=None, ge=1, le=1000, description="Which of several Contacts; 1 is the first.")
    force: bool = Field(default=False, description="Past holds that need it; with a reason.")
    replace: list[Id] = Field(default_factory=list, max_length=50, description="Approved remaps to supersede.")


class SeenRemap(_Given):
    """A remap as it was looked at."""

    id: Id
    version: Version


class ManyBody(_Given):
    """One decision on many remaps."""

    action: Action
    remaps: list[SeenRemap] = Field(min_length=1, max_length=MOST)
    reason: Reason = ""


class NoteBody(_Given):
    """A note in place of the one that is there."""

    note: str = Field(max_length=500)


class ApplyBody(_Given):
    """The node, and the checksum of its plan or of one of the plan's units as it was looked at."""

    node: str = Field(min_length=1, max_length=64)
    checksum: str = Field(pattern=r"^[0-9a-f]{64}$")


class VersionedRemap(RemapJson):
    """A remap with the name of its state: send it as If-Match with a decision."""

    version: str


class VersionedShown(ShownJson):
    """A remap with all that is known of it, and its version."""

    version: str


class RemapsReply(TypedDict):
    """A page; `after` begins the next one, null at the end."""

    remaps: list[VersionedRemap]
    after: int | None


class RefusedRow(TypedDict):
    """A remap of a decision that was refused, and why."""

    id: int
    where: str
    why: str
    what_to_do: str
    contradicts: list[int]


class DecisionReply(TypedDict):
    """The remaps as they are now, those refused, and the name that takes it back for an hour; null for nothing."""

    remaps: list[VersionedRemap]
    errors: list[RefusedRow]
    undo: str | None


class AuditRow(EntryJson):
    """A decision with its id and the remap's; `via` is the console's address and token."""

    id: int
    remap_id: int | None
    via: dict[str, str]


class AuditReply(TypedDict):
    """Oldest first; `after` begins the next page, null at the end."""

    entries: list[AuditRow]
    after: int | None


class EventsReply(TypedDict):
    """Oldest first; `cursor` is the next `since`."""

    events: list[dict[str, Any]]
    cursor: int
    oldest: int | None


class GenerationsReply(TypedDict):
    """Newest first, each as `history --json` gives it."""

    generations: list[dict[str, Any]]


class LossesReply(TypedDict):
    """What was lost, and how many unreadable 301s are in quarantine."""

    losses: list[dict[str, Any]]
    quarantine: int | None


class SourcesReply(TypedDict):
    """What is read on the console's host, as `status --json` gives it."""

    sources: list[dict[str, Any]]


class TokensReply(TypedDict):
    """One's own tokens; for an admin everybody's."""

    tokens: list[TokenJson]


class PlansReply(TypedDict):
    """What each node's next apply would change, as it published it."""

    plans: list[PlanJson]


class ApplyRequestsReply(TypedDict):
    """The latest requests, newest first."""

    requests: list[RequestJson]


class MeReply(TypedDict):
    """Who the token is of."""

    account: str
    role: str
    token: int | None


def read_model(model: type[Model], given: object, where: str, *, is_text: bool = False) -> Model:
    """What was given as a model; `is_text`: numbers come as text. Raises DeniedError (422) for the first fault."""
    try:
        return model.model_validate(given, strict=not is_text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(printable(str(part), 60) for part in first["loc"]) or where
        raise DeniedError(
            422, f"{where} {place}: {printable(first['msg'], 200)}", "see GET /api/v1/openapi.json"
        ) from error
