"""`[console]`: the REST API, which is off where the table is not there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from redirectd.config.values import Net, Section, parse_listen
from redirectd.sip.uri import ip_address

UNIX = "unix:"


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
    return text


class ConsoleSection(Section):
    """The REST API, `redirectd console` (extra `console`). Absent: there is none.

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
        description="Networks of the reverse proxies whose X-Forwarded-For is believed. On a unix socket whoever may "
        "open it is.",
        examples=[["192.0.2.80/32"]],
    )

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
