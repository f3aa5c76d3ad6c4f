"""approve, reject, revoke and reopen: by id and URI, with holds that need a choice, force or a reason."""

from __future__ import annotations

from tests.cli.conftest import Cli


def by_flag(cli: Cli, *flags: str) -> dict[str, object]:
    """The first pending remap with exactly these flags."""
    remaps = cli("pending", "--json").json["remaps"]
    found: dict[str, object] = next(remap for remap in remaps if remap["flags"] == sorted(flags))
    return found


def test_approve_by_id_and_uri(filled: Cli) -> None:
    """Ids and old URIs may stand together; each is approved and shown."""
    filled("approve", "1", "sip:c03@gw03.carrier.test")
    approved = filled("list", "--state", "approved", "--json").json["remaps"]
    assert [remap["old_uri"] for remap in approved] == [
        "sip:alice@127.0.31.1:6003",
        "sip:c03@gw03.carrier.test;user=phone",
    ]


def test_ambiguous_needs_contact(filled: Cli) -> None:
    """R15: several Contacts: refused with 3 until one is chosen, and the chosen one is what is approved."""
    number = by_flag(filled, "ambiguous")["id"]
    assert "--contact" in filled("approve", number, code=3).err
    done = filled("approve", number, "--contact", "2", "--json").json["remaps"][0]
    assert (done["state"], done["new_uri"]) == ("approved", done["contacts"][1])


def test_contact_out_of_range(filled: Cli) -> None:
    """R15: a Contact that is not there is wrong usage."""
    filled("approve", by_flag(filled, "ambiguous")["id"], "--contact", "9", code=2)
    filled("approve", "1", "2", "--contact", "1", code=2)


def test_suspicious_needs_force_and_reason(filled: Cli) -> None:
    """R27: a suspicious target is refused with 3 without --force, with 2 without a reason, and then approved."""
    number = by_flag(filled, "suspicious")["id"]
    assert "--force" in filled("approve", number, code=3).err
    filled("approve", number, "--force", code=2)
    filled("approve", number, "--force", "--reason", "asked the carrier")
    assert filled("show", number, "--json").json["audit"][-1]["reason"] == "asked the carrier"


def test_refused_one_leaves_the_others_done(filled: Cli) -> None:
    """One refused remap among several: the others are approved, the exit code is 3, JSON names both."""
    held = by_flag(filled, "ambiguous")["id"]
    result = filled("approve", "1", held, "--json", code=3).json
    assert [remap["id"] for remap in result["remaps"]] == [1]
    assert [error["id"] for error in result["errors"]] == [held]


def test_way_through_the_states(filled: Cli) -> None:
    """R31, R35: approve, revoke, reopen, reject; each step is in the audit with its reason."""
    for command, state in [
        ("approve", "approved"),
        ("revoke", "revoked"),
        ("reopen", "pending"),
        ("reject", "rejected"),
    ]:
        done = filled(command, "1", "--reason", f"test of {command}", "--json").json["remaps"]
        assert done[0]["state"] == state
    audit = filled("show", "1", "--json").json["audit"]
    assert [(entry["action"], entry["reason"]) for entry in audit] == [
        (name, f"test of {name}") for name in ("approve", "revoke", "reopen", "reject")
    ]


def test_wrong_state(filled: Cli) -> None:
    """What was never approved can't be revoked; the message says what can be done."""
    assert "redirectd approve 1" in filled("revoke", "1", code=1).err


def test_unknown_id(cli: Cli) -> None:
    """An id that there is none of is wrong usage."""
    cli("approve", "12", code=2)
    cli("approve", code=2)


def test_changed_policy_counts_at_once(filled: Cli) -> None:
    """R26: who is trusted is judged when a remap is looked at, not when it was read."""
    text = filled.config.read_text().replace('trusted_peers = ["127.0.0.0/8"]', "trusted_peers = []")
    filled.config.write_text(text)
    assert all("untrusted" in remap["flags"] for remap in filled("pending", "--json").json["remaps"])


def test_approve_says_that_the_next_scheduled_apply_will_be_refused(filled: Cli) -> None:
    """More than a limit allows is approved, and said at once, with the numbers and the way past it."""
    filled.config.write_text(filled.config.read_text() + "\n[limits]\nmax_changes = 1\n")
    assert "will be refused" not in filled("approve", "1").out
    printed = filled("approve", "sip:c03@gw03.carrier.test").out
    assert "create 2 of 0 entries, allowed 1 (max_changes = 1)" in printed
    assert "the next scheduled apply will be refused; if it is what you want: redirectd apply --plan " in printed
