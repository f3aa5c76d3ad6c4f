"""What the targets share by which Asterisk looks a dialled name up: the entry's key, and which users it moves (R41)."""

from __future__ import annotations

from collections.abc import Collection

from redirectd.sip.uri import SipUri
from redirectd.targets import asterisk_name
from redirectd.targets.asterisk_name import EXACT, also_moved, asked_name, dialled, name_of, old_extension
from redirectd.targets.hosts import read_hosts, speaks_for
from redirectd.targets.user_moves import NotAskedError, UserMoves


class DialledNames(UserMoves):
    """User moves by the dialled name. `hosts` are the old hosts the target speaks for (all if empty)."""

    WIDTH = asterisk_name.WIDTH

    def __init__(self, match: str, hosts: Collection[str], *, width: str, legacy_keys: bool) -> None:
        super().__init__(match, width=width, legacy_keys=legacy_keys)
        self._hosts = read_hosts(hosts)

    def _serves(self, uri: SipUri) -> bool:
        return not self._hosts or speaks_for(self._hosts, uri)

    def _served(self) -> str:
        return " ".join(sorted(map(str, self._hosts)))

    def keys(self, uri: SipUri) -> Collection[str]:
        """Give the user as Asterisk hears it dialled."""
        return (name_of(uri),) if self._serves(uri) else ()

    def asked(self, uri: SipUri, text: str) -> str:
        """Give the dialled name."""
        if not self._serves(uri):
            raise NotAskedError("its host is none of the target's hosts")
        return asked_name(uri)

    def _value(self, new: SipUri) -> str:
        return dialled(new)

    def besides(self, old: SipUri) -> str:
        """Name the same user elsewhere."""
        return also_moved(old)

    def _old_keys(self, uri: SipUri) -> Collection[str]:
        return (old_extension(uri),) if self._serves(uri) else ()

    def _is_old(self, key: str) -> bool:
        return not key.startswith(EXACT)
