"""Handing a notification to a webhook or to Apprise, within a bounded time; its URL is a secret and is never shown."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import ssl
from base64 import b64encode
from contextlib import closing
from threading import Timer
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

from redirectd import __version__
from redirectd.config.model import Config
from redirectd.config.secrets import notify_url
from redirectd.config.sections import NotifySection
from redirectd.errors import ConfigError, RedirectdError
from redirectd.service.notifications import Notice
from redirectd.sip.text import printable

STEP_SECONDS = 10.0
"""How long a receiver may be silent."""

WHOLE_SECONDS = 30.0
"""How long it may take for all of it."""

OPEN_NETWORK = "if systemd runs redirectd, install its drop-in notify.conf, which opens the unit's network"


class Delivery(Protocol):
    """A way to somebody who is notified."""

    where: str
    """What it is called in errors: without the secret parts of the URL."""

    def send(self, message: Notice) -> None:
        """Hands a message over. Raises RedirectdError."""
        ...

    def reach(self) -> None:
        """Tries what can be tried without sending anything. Raises RedirectdError."""
        ...


def delivery_of(section: NotifySection, config: Config) -> Delivery:
    """The way that a table of the configuration names. Raises ConfigError."""
    file = section.url_file
    url = notify_url(section, config.resolve(file) if file else None)
    return Webhook(section.name, url) if section.kind == "webhook" else ByApprise(section.name, url)


class Webhook:
    """A POST of JSON over http or https; redirects are not followed, any 2xx is a success."""

    def __init__(self, name: str, url: str) -> None:
        """Raises ConfigError for what is not an http or https URL."""
        try:
            self._url: SplitResult = urlsplit(url)
            self._host, self._port = self._url.hostname or "", self._url.port
            self._host.encode("idna")  # as connecting does, where it would look like a defect
            http.client.HTTPConnection(self._host, 80)
        except (ValueError, http.client.InvalidURL):
            self._url, self._host, self._port = urlsplit(""), "", None
        if self._url.scheme not in {"http", "https"} or not self._host or not url.isascii() or not url.isprintable():
            raise ConfigError(
                f"notify {name}", "its URL is not an http or https URL", "write it as https://HOST/PATH, in its secret"
            )
        host = f"[{self._host}]" if ":" in self._host else self._host
        port = f":{self._port}" if self._port else ""
        self.where = f"notify {name}, {self._url.scheme}://{printable(host, 200)}{port}/***"

    def send(self, message: Notice) -> None:
        """Posts it."""
        body = json.dumps(dict(message.document)).encode()
        path = (self._url.path or "/") + (f"?{self._url.query}" if self._url.query else "")
        path = path.replace(" ", "%20")
        headers = {"Content-Type": "application/json", "User-Agent": f"redirectd/{__version__}"}
        headers["Idempotency-Key"] = message.number
        if self._url.username is not None:
            user = f"{unquote(self._url.username)}:{unquote(self._url.password or '')}"
            headers["Authorization"] = f"Basic {b64encode(user.encode()).decode()}"
        with closing(self._connection()) as connection:
            timer = Timer(WHOLE_SECONDS, _cut, [connection])
            timer.daemon = True
            timer.start()
            try:
                connection.request("POST", path, body=body, headers=headers)
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException) as error:
                raise self._failed(error) from None
            finally:
                timer.cancel()
        if not 200 <= status < 300:
            raise RedirectdError(self.where, f"it answered {status}", "see the receiver's log, or renew the URL")

    def reach(self) -> None:
        """Connects, over TLS where the URL says so, and hangs up."""
        with closing(self._connection()) as connection:
            try:
                connection.connect()
            except OSError as error:
                raise self._failed(error) from None

    def _connection(self) -> http.client.HTTPConnection:
        if self._url.scheme == "https":  # always with a port, or the end of an IPv6 address is taken for one
            port = http.client.HTTPS_PORT if self._port is None else self._port
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, port, timeout=STEP_SECONDS, context=context)
        port = http.client.HTTP_PORT if self._port is None else self._port
        return http.client.HTTPConnection(self._host, port, timeout=STEP_SECONDS)

    def _failed(self, error: Exception) -> RedirectdError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return RedirectdError(self.where, f"TLS: {error.verify_message}", "install the receiver's CA on this host")
        if isinstance(error, TimeoutError):
            return RedirectdError(self.where, "no answer in time", f"see that the receiver works; {OPEN_NETWORK}")
        why = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        return RedirectdError(self.where, printable(why, 200), f"see that the receiver works; {OPEN_NETWORK}")


def _cut(connection: http.client.HTTPConnection) -> None:
    """Ends an exchange that a receiver draws out."""
    sock = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


class ByApprise:
    """Any service that Apprise knows."""

    def __init__(self, name: str, url: str) -> None:
        """Raises ConfigError where Apprise is missing or does not know the URL."""
        self.where = f"notify {name}"
        try:
            import apprise
        except ImportError:
            raise ConfigError(
                self.where, "Apprise is not installed", "install the extra: pip install 'redirectd[notify]'"
            ) from None
        quiet = logging.getLogger("apprise")  # it would log parts of the URL
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        self._apprise = apprise.Apprise()
        if not self._apprise.add(url):
            raise ConfigError(
                self.where, "Apprise does not know its URL", "see https://github.com/caronc/apprise/wiki for its form"
            )
        self.where = f"notify {name}, {printable(url.partition(':')[0], 40)}:***"

    def send(self, message: Notice) -> None:
        """As plain text, which Apprise escapes for the service."""
        if not self._apprise.notify(title=message.title, body=message.text, body_format="text"):
            raise RedirectdError(
                self.where, "Apprise could not deliver it", f"try it by hand with the 'apprise' command; {OPEN_NETWORK}"
            )

    def reach(self) -> None:
        """Apprise has no way to try without sending: a known URL is all."""
