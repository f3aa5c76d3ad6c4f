"""`[console]`: the review console and the REST API, which are off where the table is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, model_validator

from redirectd.config.values import Duration, Net, Section, parse_duration, parse_listen
from redirectd.sip.uri import ip_address

UNIX = "unix:"
USUAL_PORTS = {"http": "80", "https": "443"}
_HEADER = r"^[A-Za-z][A-Za-z0-9-]{0,63}$"
_LEAST_IDLE, _LONGEST_SESSION = parse_duration("5m"), parse_duration("30d")


def _listen(value: object) -> str:
    if isinstance(value, str) and value.startswith(UNIX):
        if not value.removeprefix(UNIX).startswith("/"):
            raise ValueError(f'"{value}" must be unix: and an absolute path')
        return value
    return parse_listen(value)


def _origin(value: object) -> str:
    text = str(value).removesuffix("/")
    scheme, _, rest = text.partition("://")
    if scheme not in {"http", "https"} or not rest or any(char in rest for char in "/?#@ ") or text != text.lower():
        raise ValueError(f'"{value}" must be http or https and a host in lower case, such as "https://review.example"')
    host, _, port = rest.rpartition(":")
    return f"{scheme}://{host}" if host and port == USUAL_PORTS[scheme] else text  # as browsers write an origin


def is_safe_url(text: str) -> bool:
    """Whether it is an https URL, or an http one of this host."""
    try:
        url = urlsplit(text)
        address = ip_address(url.hostname or "")
        is_here = url.hostname == "localhost" or (address is not None and address.is_loopback)
        return bool(url.hostname) and (url.scheme == "https" or (url.scheme == "http" and is_here)) and "@" not in text
    except ValueError:  # a port or an address that can't be one
        return False


def _issuer(value: object) -> str:
    text = str(value)
    if not is_safe_url(text) or any(char in text for char in "?# ") or not text.isascii():
        raise ValueError(f'"{value}" must be the https URL of the provider, as its documents write it')
    return text


class OidcSection(Section):
    """A provider of OpenID Connect, such as Keycloak, Entra ID or Authentik. Absent: it signs nobody in.

    The client's secret is not in this file: the environment's `REDIRECTD_CONSOLE_OIDC_SECRET`, the systemd credential
    `console-oidc-secret`, or `client_secret_file`; without one it is a public client, which PKCE keeps safe. At the
    provider, register the redirect URI `/sign-in/oidc/callback` below `[console] url`.
    """

    issuer: Annotated[str, BeforeValidator(_issuer)] = Field(
        description="The provider's issuer: its documents are below it, in .well-known/openid-configuration.",
        examples=["https://id.example/realms/voice"],
    )
    client_id: str = Field(min_length=1, max_length=200, description="The client's id there.", examples=["redirectd"])
    client_secret_file: Path | None = Field(
        default=None,
        description="A file whose first line is the client's secret. The environment and the systemd credential come "
        "first.",
        examples=["/etc/redirectd/oidc.secret"],
    )
    label: str = Field(default="Single sign-on", max_length=60, description="What the link to it is called.")
    scopes: list[str] = Field(
        default_factory=list,
        description="Scopes to ask for beside `openid`, such as one that has the groups sent.",
        examples=[["profile", "groups"]],
    )
    user_claim: str = Field(
        default="sub",
        min_length=1,
        description="The claim of the ID token that an account is named by, as in `oidc:ada`. Only one that people "
        "can't change themselves: `sub` never changes.",
        examples=["preferred_username"],
    )
    groups_claim: str = Field(
        default="groups", min_length=1, description="The claim of the ID token with the groups, for `[console.roles]`."
    )


class RolesSection(Section):
    """Which groups of the proxy or the OIDC provider have which role; of several, the one that may most.

    Somebody in none of them doesn't get in.
    """

    viewer: list[str] = Field(default_factory=list, description="Groups that may look at everything.")
    reviewer: list[str] = Field(
        default_factory=list, description="Groups that may also decide.", examples=[["voice-review"]]
    )
    applier: list[str] = Field(default_factory=list, description="Groups that may also ask nodes to apply.")
    admin: list[str] = Field(default_factory=list, description="Groups that may also revoke everybody's tokens.")


class ConsoleSection(Section):
    """The review console and the REST API, `redirectd console` (extra `console`). Absent: there is none.

    It listens on this host alone. Beyond it, it needs `tls_certificate` and `tls_key`, or `trusted_proxies`: then
    nobody but these is answered.
    """

    listen: Annotated[str, BeforeValidator(_listen)] = Field(
        default="127.0.0.1:8301",
        description="An address and port, or `unix:` and the path of a socket, which its group may use.",
    )
    url: Annotated[str, BeforeValidator(_origin)] | None = Field(
        default=None,
        description="How clients reach it: scheme, host and port. Requests for another host are refused. Absent: the "
        "address of `listen`, or localhost; needed where other hosts reach it.",
        examples=["https://review.example"],
    )
    tls_certificate: Path | None = Field(
        default=None, description="PEM file of the certificate and its chain.", examples=["/etc/redirectd/console.crt"]
    )
    tls_key: Path | None = Field(
        default=None, description="PEM file of its key.", examples=["/etc/redirectd/console.key"]
    )
    trusted_proxies: list[Net] = Field(
        default_factory=list,
        description="Networks of the reverse proxies whose X-Forwarded-For and `user_header` are believed. On a unix "
        "socket whoever may open it is.",
        examples=[["192.0.2.80/32"]],
    )
    user_header: Annotated[str, Field(pattern=_HEADER)] | None = Field(
        default=None,
        description="The header in which a reverse proxy names who has signed in there. Absent: it signs nobody in. "
        "The proxy must remove it from what browsers send; where it comes from anybody else, it is refused.",
        examples=["X-Remote-User"],
    )
    groups_header: Annotated[str, Field(pattern=_HEADER)] = Field(
        default="X-Remote-Groups",
        description="The header in which it names their groups, separated by commas.",
    )
    oidc: OidcSection | None = Field(default=None, description="Sign-in by OpenID Connect.")
    roles: RolesSection = Field(default_factory=RolesSection, description="Roles by group.")
    session: Duration = Field(default=parse_duration("12h"), description="How long somebody stays signed in at most.")
    idle: Duration = Field(default=parse_duration("1h"), description="A session that was not used for this long ends.")

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if not self.is_local and self.tls_certificate is None and not self.trusted_proxies:
            raise ValueError(
                f'listen = "{self.listen}" is reached from other hosts, which needs TLS or a proxy: set '
                "tls_certificate and tls_key, or trusted_proxies"
            )
        if not self.is_local and self.url is None:
            raise ValueError('set url to how clients reach it, such as url = "https://review.example"')
        if self.user_header is not None and self.path is None and not self.trusted_proxies:
            raise ValueError("user_header is believed from trusted_proxies or on a unix socket alone: set one of them")
        if not _LEAST_IDLE <= self.idle <= self.session <= _LONGEST_SESSION:
            raise ValueError("idle must be at least 5m and at most session, which is at most 30d")
        return self

    @property
    def path(self) -> Path | None:
        """The unix socket it listens on; None for an address."""
        return Path(self.listen.removeprefix(UNIX)) if self.listen.startswith(UNIX) else None

    @property
    def is_local(self) -> bool:
        """Whether nothing but this host reaches it."""
        address = ip_address(self.listen.rpartition(":")[0])
        return self.path is not None or (address is not None and address.is_loopback)
