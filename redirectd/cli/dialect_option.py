"""`--dialect`, with the names that the registry has: listed here, since to import it costs more than a help text."""

from __future__ import annotations

import click

NAMES = (
    "kamailio-record",
    "kamailio-dump",
    "kamailio-stderr",
    "kamailio-text",
    "kamailio-acc",
    "kamailio-json",
    "kamailio-journal",
    "sipdump",
    "asterisk-pjsip",
    "asterisk-json",
    "asterisk-syslog",
    "asterisk-console",
    "asterisk-chan-sip",
    "hep",
    "pcap",
    "sngrep",
    "ngrep",
    "siptrace",
    "siptrace-rows",
    "ngrep-wrapped",
    "sip-text",
)
"""As docs/logs.md lists them; a test compares them with the registry."""

dialect_option = click.option("--dialect", help=f"Log format (default: auto-detect). One of: {', '.join(NAMES)}.")
