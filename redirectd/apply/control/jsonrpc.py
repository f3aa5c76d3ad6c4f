"""JSON-RPC 2.0 as Kamailio's jsonrpcs module speaks it, whatever carries it."""

from __future__ import annotations

import json
import secrets

from redirectd.apply.control.channel import kamailio_error
from redirectd.errors import PeerError
from redirectd.plan.target import Command, Reply
from redirectd.sip.text import printable


def request_id() -> int:
    """Draw the id that ties an answer to its question; Kamailio's ids are 31-bit numbers."""
    return secrets.randbelow(2**31 - 1) + 1


def encode(command: Command, number: int, reply_name: str | None = None) -> bytes:
    """Write a request; `reply_name` is the FIFO's own addition."""
    request: dict[str, object] = {"jsonrpc": "2.0", "method": command.name, "params": list(command.args), "id": number}
    if reply_name is not None:
        request["reply_name"] = reply_name
    return json.dumps(request).encode("ascii")


def decode(where: str, command: Command, number: int, data: bytes) -> Reply:
    """Read an answer; AnswerError or RetryLater for an error, PeerError for what does not answer this question."""
    try:
        answer = json.loads(data.decode("utf-8", "replace"), strict=False)
    except ValueError:
        shown = printable(data[:200].decode("latin-1"), 200)
        raise PeerError(where, f"answered no JSON: {shown!r}", "see what listens there") from None
    if not isinstance(answer, dict) or answer.get("id") != number:
        raise PeerError(where, "answered another question than the one asked", "try again")
    error = answer.get("error")
    if isinstance(error, dict):
        code = error.get("code")
        raise kamailio_error(where, command, code if isinstance(code, int) else 0, str(error.get("message")))
    if "result" not in answer:
        raise PeerError(where, "answered with neither a result nor an error", "see what listens there")
    result: Reply = answer["result"]
    return result


def answers_to(number: int, data: bytes) -> bool:
    """Say if a datagram belongs to this question, not to an earlier one that came too late."""
    try:
        answer = json.loads(data.decode("utf-8", "replace"), strict=False)
    except ValueError:
        return True  # `decode` says what is wrong with it
    return not isinstance(answer, dict) or answer.get("id") in {number, None}


def version(reply: Reply) -> str:
    """Give the text of `core.version`."""
    return printable(str(reply).strip(), 200)
