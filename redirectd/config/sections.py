"""The sections `[[source]]`, `[policy]` and `[[notify]]`: where SIP is read from, who is trusted, who is notified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from redirectd.collect.policy import EMERGENCY_NUMBERS, AutoApprove, FourEyes, Policy
from redirectd.config.values import (
    Domain,
    Duration,
    HostPort,
    Label,
    Listen,
    Net,
    Number,
    Prefix,
    Region,
    Section,
    Zone,
    parse_duration,
)


class SourceSection(Section):
    """A log or a stream that is followed by `redirectd run`; one table for each."""

    name: Label = Field(description="The source's name, shown with each sighting. Unique.", examples=["asterisk"])
    kind: Literal["file", "journal", "hep"] = Field(
        default="file",
        description="`file` follows a log through rotation, `journal` reads systemd's journal, "
        "`hep` receives HEPv3 from Kamailio's siptrace or Asterisk's res_hep.",
    )
    path: Path | None = Field(
        default=None,
        description="The log's path. For `file` only, and needed there.",
        examples=["/var/log/asterisk/full"],
    )
    dialect: str = Field(
        default="auto",
        description="What writes the log: `asterisk`, `kamailio`, `syslog` or `json` (of several programs, by program "
        "tag), `docker json-file` and so on, or one dialect. `auto` decides by the log's first entries, once: `status` "
        "and `check` show it, and it is kept until another value is set here. `redirectd explain FILE` shows what "
        "was found.",
    )
    timezone: Zone = Field(
        default="",
        description="The time zone of the log's stamps where they don't name one; empty is the system's.",
        examples=["Europe/Berlin"],
    )
    session_progress: Literal["each", "count"] = Field(
        default="each",
        description="`each` logs one record for every 183, `count` only counts them, which reads faster.",
    )
    record_keys: list[Path] | None = Field(
        default=None,
        description="Files that hold a key each (64 hex digits), that prove Kamailio's one-line records: "
        "the current key, the previous one, those of other nodes. Default: /etc/redirectd/record.key, if readable.",
        examples=[["/etc/redirectd/record.key", "/etc/redirectd/record.key.old"]],
    )
    units: list[str] = Field(
        default_factory=list,
        description="The systemd units to read. For `journal` only.",
        examples=[["kamailio.service"]],
    )
    matches: list[str] = Field(
        default_factory=list,
        description="Further journal matches, FIELD=value. For `journal` only.",
        examples=[["SYSLOG_IDENTIFIER=kamailio"]],
    )
    listen: Listen | None = Field(
        default=None,
        description="Address and port to receive on, by UDP and TCP. For `hep` only, and needed there.",
        examples=["127.0.0.1:9060"],
    )
    allowed_senders: list[Net] = Field(
        default_factory=list,
        description="Addresses and networks that may send; loopback alone where empty. For `hep` only.",
        examples=[["192.0.2.0/24"]],
    )


class AutoApproveSection(Section):
    """Approval without a person; where the table is absent, a person approves everything. All keys are needed."""

    peers: list[Net] = Field(
        min_length=1, description="Only 301s from these addresses and networks count.", examples=[["192.0.2.10"]]
    )
    min_calls: int = Field(ge=1, description="Minimum number of distinct calls.", examples=[5])
    min_age: Duration = Field(description="Minimum time between the first and the last sighting.", examples=["2d"])
    allowed_domains: list[Domain] = Field(
        min_length=1,
        description="The new URI's host must be one of these; `*.example.net` takes every name under it.",
        examples=[["sip.example.net"]],
    )


class ApprovalsForSection(Section):
    """Restricts `approvals` to remaps for which one of these holds; others need one person. Absent: all need them."""

    held: bool = Field(default=False, description="Remaps that any flag holds.")
    premium: bool = Field(default=False, description="Remaps whose new number is of a premium rate.")
    calls_over: int | None = Field(
        default=None, ge=0, description="Remaps that more calls than this have seen.", examples=[1000]
    )


class PeopleSection(Section):
    """Who a person is: a name, and the accounts that are hers or his. Where set, only these count for `approvals`.

    An account is a login name of the hosts, as the kernel knows it (loginuid): `ada = ["ada", "ada_root"]`; or with its
    kind one of the console, as the audit shows it: `local:ada`, `proxy:ada`, `oidc:ada`. A token of the API counts as
    its owner.
    """

    model_config = ConfigDict(extra="allow", frozen=True, defer_build=True)

    @model_validator(mode="after")
    def _one_person_each(self) -> Self:
        owners: dict[str, str] = {}
        for person, accounts in (self.model_extra or {}).items():
            if not isinstance(accounts, list) or not accounts or not all(isinstance(one, str) for one in accounts):
                raise ValueError(f'"{person}" must be a list of account names, such as ["{person}"]')
            for account in map(_account, accounts):
                if owners.setdefault(account, person) != person:
                    raise ValueError(f'the account "{account}" belongs to "{owners[account]}" and to "{person}"')
        return self

    @property
    def by_account(self) -> dict[str, str]:
        """The person of each account."""
        return {_account(one): person for person, accounts in (self.model_extra or {}).items() for one in accounts}


def _account(name: str) -> str:
    """The account with its kind; a bare name is a login of the hosts."""
    return name if name.startswith(_ACCOUNT_KINDS) else f"unix:{name}"


_ACCOUNT_KINDS = ("unix:", "local:", "proxy:", "oidc:")


class PolicySection(Section):
    """Trusted peers, and what is held for a person to decide."""

    trusted_peers: list[Net] = Field(
        default_factory=list,
        description="Addresses and networks whose 301s are trusted; a remap seen from others only is `untrusted`.",
        examples=[["192.0.2.0/24"]],
    )
    never_learn_from: list[Net] = Field(
        default_factory=list,
        description="Peers whose 301s are no moves, such as number portability or least-cost dips: counted, no remap.",
        examples=[["192.0.2.53"]],
    )
    own_domains: list[Domain] = Field(
        default_factory=list,
        description="Our own domains. Where set, old URIs outside these and the gateways are recorded, not remapped.",
        examples=[["example.net"]],
    )
    gateways: list[HostPort] = Field(
        default_factory=list,
        description="Gateways that calls are sent to, host or host:port: their old URIs are ours too.",
        examples=[["gw1.carrier.example:5060"]],
    )
    allowed_target_networks: list[Net] = Field(
        default_factory=list,
        description="Private, loopback and similar networks that a new URI may point into; others are `suspicious`.",
        examples=[["10.20.0.0/16"]],
    )
    denied_domains: list[Domain] = Field(
        default_factory=list,
        description="New URIs in these domains, and in all below them, are `suspicious`.",
        examples=[["example.org"]],
    )
    denied_networks: list[Net] = Field(
        default_factory=list,
        description="New URIs in these networks are `suspicious`.",
        examples=[["198.51.100.0/24"]],
    )
    denied_prefixes: list[Prefix] = Field(
        default_factory=list,
        description="New numbers that begin so are `suspicious`; the country code comes first.",
        examples=[["+49900", "+88"]],
    )
    allow_premium: bool = Field(default=False, description="Take numbers of a premium rate without a hold.")
    allow_foreign: bool = Field(
        default=False, description="Take numbers of another country than the old one without a hold."
    )
    emergency_numbers: list[Number] = Field(
        default_factory=lambda: sorted(EMERGENCY_NUMBERS),
        description="Numbers that are never remapped. Setting it replaces the default, a list for the whole world.",
        examples=[["110", "112"]],
    )
    region: Region | None = Field(
        default=None,
        description="The country (ISO 3166, two letters) by which numbers without a country code are read.",
        examples=["DE"],
    )
    tel_gateway: HostPort | None = Field(
        default=None,
        description="The gateway that `tel:` targets are sent to; without it they are recorded and never routed.",
        examples=["pstn.example.net"],
    )
    revalidate_after: Duration | None = Field(
        default=None,
        description="Show an approved remap as stale this long after its approval; it keeps routing.",
        examples=["365d"],
    )
    suspend_failing_after: int | None = Field(
        default=None,
        ge=1,
        le=1000,  # more calls of one answer are not counted
        description="Revoke an approved remap at the next apply once its target has answered 404, 410 or 604 in so "
        "many calls. Absent: it is shown as failing, and keeps routing.",
        examples=[10],
    )
    propose_users: int = Field(
        default=5, ge=2, description="Propose one gateway move where this many users of a host moved to one other host."
    )
    propose_percent: float = Field(
        default=80,
        gt=50,
        le=100,
        description="Propose it only where they are at least this percentage of the host's users.",
    )
    new_remaps_per_peer: int = Field(
        default=200,
        ge=1,
        description="New pending remaps that one peer's address may bring in an hour; what is over it is only counted.",
    )
    new_remaps_per_incoming_uri: int = Field(
        default=50,
        ge=1,
        description="New pending remaps that one incoming URI may bring in an hour, trusted and other peers apart.",
    )
    approvals: int = Field(
        default=1,
        ge=1,
        le=5,
        description="Number of different people who must approve a remap. With more than one, the first approval "
        "routes nothing, and automatic approval and import approve nothing.",
        examples=[2],
    )
    approvals_for: ApprovalsForSection | None = Field(
        default=None, description="Which remaps need `approvals`. Absent: all."
    )
    people: PeopleSection = Field(default_factory=PeopleSection, description="Who a person is.")
    auto_approve: AutoApproveSection | None = Field(
        default=None, description="Approval without a person. Absent: a person approves everything."
    )

    def as_policy(self) -> Policy:
        """The plain values the rules take."""
        auto = self.auto_approve
        return Policy(
            trusted_peers=tuple(self.trusted_peers),
            never_learn_from=tuple(self.never_learn_from),
            own_domains=frozenset(self.own_domains),
            gateways=tuple(self.gateways),
            allowed_target_networks=tuple(self.allowed_target_networks),
            denied_domains=frozenset(self.denied_domains).union(
                f"*.{name.removeprefix('*.')}" for name in self.denied_domains
            ),
            denied_networks=tuple(self.denied_networks),
            denied_prefixes=tuple(self.denied_prefixes),
            emergency_numbers=frozenset(self.emergency_numbers),
            tel_gateway=self.tel_gateway,
            region=self.region,
            allow_premium=self.allow_premium,
            allow_foreign=self.allow_foreign,
            auto_approve=None
            if auto is None
            else AutoApprove(
                peers=tuple(auto.peers),
                min_calls=auto.min_calls,
                min_age=auto.min_age,
                allowed_domains=frozenset(auto.allowed_domains),
            ),
            four_eyes=self._four_eyes(),
            revalidate_after=self.revalidate_after,
            suspend_failing_after=self.suspend_failing_after,
            propose_users=self.propose_users,
            propose_percent=self.propose_percent,
            new_per_peer=self.new_remaps_per_peer,
            new_per_incoming=self.new_remaps_per_incoming_uri,
        )

    @model_validator(mode="after")
    def _enough_people(self) -> Self:
        people = len(set(self.people.by_account.values()))
        if 0 < people < self.approvals:
            raise ValueError(f"approvals = {self.approvals} needs as many people, and [policy.people] names {people}")
        return self

    def _four_eyes(self) -> FourEyes:
        only = self.approvals_for or ApprovalsForSection()
        return FourEyes(
            approvals=self.approvals,
            held=only.held,
            premium=only.premium,
            calls_over=only.calls_over,
            people=self.people.by_account,
        )


DEFAULT_EVENTS = (
    "pending",
    "agreed",
    "failing",
    "ineffective",
    "rolled-back",
    "source-down",
    "source-up",
    "loss",
    "alarm",
)


def _event(value: object) -> object:
    from redirectd.store.event_log import EventKind  # most configurations notify nobody

    names = [kind.value for kind in EventKind]
    if value not in names:
        raise ValueError(f'no such event "{value}"; there are: {", ".join(names)}')
    return value


class NotifySection(Section):
    """Somebody who is notified of events, by a webhook or any service that Apprise knows; one table for each.

    The URL is a secret and not in this file: the environment's `REDIRECTD_NOTIFY_NAME_URL`, the systemd credential
    `notify-NAME-url`, or `url_file`. Nodes that share a database send each message once, if the table has the same name
    on them. The keys `remap_kind`, `peer`, `domain`, `flag` and `older_than` restrict remaps like the
    options of `pending`.
    """

    name: Label = Field(description="Its name in the log and for the URL. Unique.", examples=["team"])
    kind: Literal["webhook", "apprise"] = Field(
        default="webhook",
        description="`webhook` posts JSON to an http or https URL; `apprise` takes any URL of Apprise, such as "
        "mailto: or slack: (extra `notify`).",
    )
    url_file: Path | None = Field(
        default=None,
        description="A file whose first line is the URL. The environment and the systemd credential come first.",
        examples=["/etc/redirectd/notify-team.url"],
    )
    events: list[Annotated[str, BeforeValidator(_event)]] = Field(
        default_factory=lambda: list(DEFAULT_EVENTS),
        min_length=1,
        description="The kinds of events, as 'redirectd events' names them.",
        examples=[["pending", "failing"]],
    )
    remap_kind: Literal["user", "gateway", "registrar"] | None = Field(
        default=None, description="Only remaps of this kind.", examples=["gateway"]
    )
    peer: str | None = Field(
        default=None, description="Only remaps reported by a peer containing this text.", examples=["192.0.2.1"]
    )
    domain: str | None = Field(
        default=None, description="Only remaps whose old or new host contains this text.", examples=["example.net"]
    )
    flag: str | None = Field(
        default=None, description="Only remaps with this flag; `none` for those without.", examples=["none"]
    )
    older_than: Duration | None = Field(default=None, description="Only remaps last seen longer ago.", examples=["7d"])
    details: bool = Field(
        default=False,
        description="Also send URIs and reasons. Without it a message has counts, peers and the link.",
    )
    link: str | None = Field(
        default=None, description="A link that every message ends with.", examples=["https://sip1.example.net/review"]
    )
    wait: Duration = Field(
        default=parse_duration("60s"), description="How long further events are waited for, so that they come together."
    )
    pause: Duration = Field(default=parse_duration("5m"), description="Minimum time between two messages.")
    remind: Duration = Field(
        default=parse_duration("1d"),
        description="While remaps wait for review, remind of them this long after the last message; `0s` never does.",
    )
