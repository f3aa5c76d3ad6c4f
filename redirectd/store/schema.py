"""The tables. Text keys that can be long are indexed by a hash, since MariaDB bounds an index to 3,072 bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import mysql

metadata = MetaData()

BigId = BigInteger().with_variant(Integer, "sqlite")
LongText = Text().with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
Blob = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored as naive UTC with microseconds in every database (R37)."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:  # noqa: ANN401 - SQLAlchemy's own signature
        """MariaDB keeps whole seconds unless asked for more."""
        if dialect.name in {"mysql", "mariadb"}:
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To naive UTC; a naive value is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone came to the database")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Back to aware UTC."""
        return None if value is None else value.replace(tzinfo=UTC)


remap = Table(
    "remap",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("identity", String(32), nullable=False, unique=True),  # hash of kind, old key and target (R30)
    Column("old_hash", String(32), nullable=False),  # hash of kind and old key
    Column("state", String(12), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("old_key", LongText, nullable=False),
    Column("old_uri", LongText, nullable=False),
    Column("new_uri", LongText),  # null while several Contacts wait for a choice (R15)
    Column("new_hash", String(32)),  # as the old_hash of a remap of the new URI would be
    Column("contacts", LongText, nullable=False),  # JSON list, in q order
    Column("flags", LongText, nullable=False),  # JSON object: name -> reason; those that no policy decides
    Column("facts", LongText, nullable=False),  # JSON object: name -> what strengthens it (R23)
    Column("authenticity", Integer, nullable=False, server_default="1"),  # of its best sighting (R39)
    Column("calls", BigInteger, nullable=False),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    Column("replaces", BigId),
    Column("note", LongText, nullable=False, default=""),
    Column("expires_at", UtcDateTime),
    Column("revalidate_after", UtcDateTime),
    Column("decided_at", UtcDateTime),
    Column("decided_by", String(255)),
    Index("remap_state_last_seen", "state", "last_seen"),
    Index("remap_state_id", "state", "id"),  # pages by id
    Index("remap_state_revalidate_after", "state", "revalidate_after"),
    Index("remap_old_hash_state", "old_hash", "state"),
    Index("remap_new_hash_state", "new_hash", "state"),
    sqlite_autoincrement=True,  # the audit and people name remaps by id: none is given twice
)

remap_peer = Table(
    "remap_peer",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("peer", String(80), primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
    Column("authentic_calls", BigInteger, nullable=False, server_default="0"),  # proven or surely framed ones (R39)
    Column("authentic_first", UtcDateTime),
    Column("authentic_last", UtcDateTime),
    Index("remap_peer_peer", "peer"),  # which peers there are, however many remaps each has reported
)

remap_method = Table(
    "remap_method",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("method", String(32), primary_key=True),
    Column("calls", BigInteger, nullable=False),
    Column("authentic_calls", BigInteger, nullable=False, server_default="0"),
)

remap_incoming = Table(
    "remap_incoming",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("hash", String(32), primary_key=True),
    Column("uri", LongText, nullable=False),
    Column("forked", Boolean, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Index("remap_incoming_hash", "hash"),  # an approval asks which others were asked for by its incoming URIs
)

followup = Table(
    "followup",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("status", Integer, primary_key=True, autoincrement=False),  # of the answers of an approved target
    Column("calls", BigInteger, nullable=False),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
)

followed_call = Table(
    "followed_call",
    metadata,
    Column("key", String(32), primary_key=True),  # hash of a call, a target and its answer: counted in `followup`
    Column("seen_at", UtcDateTime, nullable=False, index=True),
)

screening = Table(
    "screening",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("basis", String(32), nullable=False),  # hash of the policy and the URIs that were looked at
    Column("suspicious", Boolean, nullable=False),
)

remap_wait = Table(
    "remap_wait",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("calls", BigInteger, nullable=False),  # those whose log has the times of request and answer
    Column("milliseconds", BigInteger, nullable=False),  # their sum
)

in_service = Table(
    "in_service",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("old_hash", String(32), nullable=False),  # the remap's: a 301 to any target shows that nobody looked up
    Column("generation", BigId, nullable=False),
    Column("since", UtcDateTime, nullable=False),
    Column("calls_a_day", Double, nullable=False),  # 301s a day while there were any before
    Column("calls", BigInteger, nullable=False, index=True),  # 301s since, reported by this node's logs
    Column("last_seen", UtcDateTime),
    Index("in_service_old_hash", "node", "old_hash"),
)

refusal = Table(
    "refusal",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("identity", String(32), nullable=False, unique=True),
    Column("rule", String(8), nullable=False),
    Column("reason", LongText, nullable=False),
    Column("method", String(32), nullable=False),
    Column("old_uri", LongText, nullable=False),
    Column("new_text", LongText, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("first_seen", UtcDateTime, nullable=False),
    Column("last_seen", UtcDateTime, nullable=False),
)

event = Table(
    "event",
    metadata,
    Column("key", String(32), primary_key=True),  # hash of one answered transaction and the URI answered (R5, R8)
    Column("event_key", String(32), nullable=False),  # hash of the transaction alone: what an unpaired sighting has
    Column("call_key", String(32), nullable=False, index=True),  # hash of its Call-ID: what a weak sighting has
    Column("remap_id", BigId),
    Column("refusal_id", BigId),
    Column("rank", Integer, nullable=False),  # its standing (`collect.answer`): a better sighting replaces it
    Column("peer", String(80), nullable=False),  # what it was counted under
    Column("method", String(32), nullable=False),
    Column("seen_at", UtcDateTime, nullable=False, index=True),
)

event_pack = Table(
    "event_pack",
    metadata,
    Column("remap_id", BigId, ForeignKey("remap.id", ondelete="CASCADE"), primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),  # first hex digit of the keys
    Column("content", Blob, nullable=False),  # the keys of a storm's answers, 16 bytes each, instead of rows of `event`
    Column("seen_at", UtcDateTime, nullable=False, index=True),
)

evidence = Table(
    "evidence",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("remap_id", BigId, index=True),
    Column("refusal_id", BigId, index=True),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("source", String(255), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("dialect", String(64), nullable=False),
    Column("peer", String(80), nullable=False),
    Column("method", String(32), nullable=False),
    Column("call_id", LongText, nullable=False),
    Column("text", LongText, nullable=False),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("identity", String(32), nullable=False, unique=True),
    Column("source", String(255), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("dialect", String(64), nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("why", LongText, nullable=False),
    Column("content", Blob, nullable=False),
)

loss = Table(
    "loss",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("source", String(190), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("last_at", UtcDateTime, nullable=False),
)

position = Table(
    "position",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("source", String(190), primary_key=True),
    Column("value", LongText, nullable=False),  # JSON, as the source wrote it
    Column("updated_at", UtcDateTime, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),  # without gaps, and bound by the hash
    Column("at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("action", String(32), nullable=False),
    Column("remap_id", BigId, index=True),
    Column("old_state", String(12)),
    Column("new_state", String(12)),
    Column("reason", LongText, nullable=False),
    Column("detail", LongText, nullable=False),
    Column("previous", String(64), nullable=False, unique=True),  # one successor each: the chain can't fork
    Column("hash", String(64), nullable=False),
)

generation = Table(
    "generation",
    metadata,
    Column("number", BigId, primary_key=True, autoincrement=True),
    Column("node", String(64), nullable=False, index=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("actor", String(255), nullable=False),
    Column("cause", String(64), nullable=False),  # apply, schedule, rollback
    Column("checksum", String(64), nullable=False),
    Column("plan", LongText, nullable=False),  # JSON of the contract
    Column("outcome", String(16), nullable=False),
    Column("stages", LongText, nullable=False),  # JSON list: stage, target, outcome, error
)

generation_file = Table(
    "generation_file",
    metadata,
    Column("number", BigId, ForeignKey("generation.number", ondelete="CASCADE"), primary_key=True),
    Column("target", String(190), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("path", LongText, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("content", Blob, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", LongText, nullable=False),
)

target_state = Table(
    "target_state",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("target", String(190), primary_key=True),
    Column("sha256", String(64), nullable=False),  # of what redirectd installed last: a hand edit shows
    Column("number", BigId, nullable=False),
    Column("pending_reload", Boolean, nullable=False),
    Column("detail", LongText, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
)

setting = Table(
    "setting",
    metadata,
    Column("node", String(64), primary_key=True),
    Column("name", String(64), primary_key=True),
    Column("value", LongText, nullable=False),  # e.g. apply held after a rollback
)

key_lock = Table(
    "key_lock",
    metadata,
    Column("key", String(32), primary_key=True),  # `turns.lock_keys`: always empty to whoever looks
)

event_log = Table(
    "event_log",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),  # the cursor: in the order of the commits
    Column("key", String(32), unique=True),  # of what may be found more than once and is reported once
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("kind", String(16), nullable=False),
    Column("node", String(64), nullable=False),  # empty for what is of no node
    Column("remap_id", BigId),
    Column("source", String(255), nullable=False),
    Column("actor", String(255), nullable=False),
    Column("detail", LongText, nullable=False),  # JSON object
    sqlite_autoincrement=True,  # a cursor is never given twice, also where all rows were dropped
)

api_token = Table(
    "api_token",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False, unique=True),  # SHA-256 of 256 random bits
    Column("owner", String(255), nullable=False, index=True),
    Column("role", String(16), nullable=False),
    Column("label", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime),
    Column("used_from", String(64), nullable=False),
    sqlite_autoincrement=True,  # the audit names tokens by their id
)

console_account = Table(
    "console_account",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("password", String(255), nullable=False),  # argon2
    Column("disabled", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)

console_session = Table(
    "console_session",
    metadata,
    Column("hash", String(64), primary_key=True),  # SHA-256 of 256 random bits
    Column("account", String(255), nullable=False, index=True),
    Column("role", String(16)),  # as the provider said at the sign-in; null where it is looked up each time
    Column("csrf", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("used_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
)

apply_request = Table(
    "apply_request",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("node", String(64), nullable=False, index=True),
    Column("checksum", String(64), nullable=False),  # of the plan or unit that was looked at
    Column("account", String(255), nullable=False),
    Column("via", LongText, nullable=False),  # JSON object: address, session or token
    Column("state", String(16), nullable=False),
    Column("requested_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("answered_at", UtcDateTime),
    Column("answer", LongText, nullable=False),  # JSON object
    sqlite_autoincrement=True,  # the audit names requests by their id
)
