"""R44: what is approved stays in routing until a person names it: approve, review, import, and the plan."""

from __future__ import annotations

import json

from tests.cli.conftest import TARGET, Cli
from tests.cli.reviewing import audit, reviewing, states

OLD = "sip:bob@old.example"
ROUTED, OTHER = "sip:bob@new.example", "sip:bob@elsewhere.example"


def filled_with(cli: Cli, *moves: tuple[str, str], incoming: str = "") -> None:
    """Imports moves as pending remaps; their ids count from 1."""
    cli.configure(TARGET)
    extra = {"incoming": [incoming]} if incoming else {}
    rows = [
        {"old_uri": old, "new_uri": new, "methods": ["INVITE"], "peer_calls": {"udp:127.0.0.1:5060": 3}, **extra}
        for old, new in moves
    ]
    file = cli.folder / "rows.json"
    file.write_text(json.dumps({"remaps": rows}))
    cli("import", file)


def live(cli: Cli) -> str:
    """The installed table, its colons unescaped."""
    return (cli.folder / "redirectd_htable").read_text().replace("\\:", ":")


def test_r44_approve_is_refused_with_3_and_replace_does_both(cli: Cli) -> None:
    """R44: the live move stays live over applies; --replace supersedes it in one decision, and apply follows."""
    filled_with(cli, (OLD, ROUTED), (OLD, OTHER))
    cli("approve", 1)
    cli("apply")
    refused = cli("approve", 2, code=3).err
    assert "remap 1, approved by" in refused
    assert ROUTED in refused
    assert "redirectd approve 2 --replace 1" in refused
    assert cli("approve", 2, "--json", code=3).json["errors"][0]["contradicts"] == [1]
    cli("apply")
    assert ROUTED in live(cli)
    done = cli("approve", 2, "--replace", 1, "--reason", "asked the carrier", "--json").json["remaps"][0]
    assert (done["state"], done["replaces"]) == ("approved", 1)
    assert states(cli) == {1: "superseded", 2: "approved"}
    assert audit(cli, 1)[-1] == ("supersede", "replaced by remap 2")
    assert audit(cli, 2)[-1] == ("approve", "asked the carrier")
    cli("apply")
    assert OTHER in live(cli)
    assert ROUTED not in live(cli)


def test_r44_a_filter_never_replaces(cli: Cli) -> None:
    """R44: many at once leave what is approved, and --replace is for one remap and one that contradicts it."""
    filled_with(cli, (OLD, ROUTED), (OLD, OTHER), ("sip:eve@old.example", "sip:eve@new.example"))
    cli("approve", 1)
    cli("approve", "--domain", "old.example", "--yes", code=3)
    assert states(cli) == {1: "approved", 2: "pending", 3: "approved"}
    cli("approve", 2, 3, "--replace", 1, code=2)
    assert "leave --replace 3 out" in cli("approve", 2, "--replace", 3, "--replace", 1, code=2).err
    assert states(cli) == {1: "approved", 2: "pending", 3: "approved"}


def test_r44_a_number_that_moves_back(cli: Cli) -> None:
    """R44, R34: the way back names the move it contradicts, and takes its place with --replace."""
    filled_with(cli, ("sip:100@x.example", "sip:200@x.example"), ("sip:200@x.example", "sip:100@x.example"))
    cli("approve", 1)
    refused = cli("approve", 2, code=3).err
    assert "it would close a cycle" in refused
    assert "redirectd approve 2 --replace 1" in refused
    cli("approve", 2, "--replace", 1)
    assert states(cli) == {1: "superseded", 2: "approved"}
    assert cli("lookup", "sip:200@x.example", "--json").json["result"] == "sip:100@x.example"


def test_r44_r5_one_incoming_uri_has_one_move_where_it_is_looked_up(cli: Cli) -> None:
    """R44, R5: the second is refused by the configured target's match; a pending one takes the first out of no plan."""
    moves = (("sip:bob@gw1.example", ROUTED), ("sip:bob@gw2.example", OTHER))
    filled_with(cli, moves[0], incoming="sip:bob@own.example")
    cli.configure(TARGET + 'match = "incoming"\n')
    cli("approve", 1)
    file = cli.folder / "rows.json"
    file.write_text(file.read_text().replace("gw1", "gw2").replace(ROUTED, OTHER))
    cli("import", file)
    assert cli("plan", "--json").json["conflicts"] == []
    cli("apply")
    assert "bob@own.example" in live(cli)
    refused = cli("approve", 2, code=3).err
    assert "remap 1, approved by" in refused
    assert "the same incoming URI sip:bob@own.example" in refused
    cli("approve", 2, "--replace", 1)
    cli("apply")
    assert OTHER in live(cli)


def test_r44_review_asks_for_the_id_that_gives_way(cli: Cli) -> None:
    """R44: a shows what is approved; nothing but its id replaces it, and u brings it back."""
    filled_with(cli, (OLD, ROUTED), (OLD, OTHER))
    cli("approve", 1)
    with reviewing(cli) as terminal:
        assert "it contradicts remap 1" in terminal.screen
        terminal.press("a")
        terminal.until("type 1 to approve this one instead (Enter: leave it):")
        terminal.step("\n")
        terminal.press("a")
        terminal.until("type 1 to approve this one instead")
        terminal.step("2\n", "none of these: nothing was done")
        assert states(cli) == {1: "approved", 2: "pending"}
        terminal.press("a")
        terminal.until("type 1 to approve this one instead")
        terminal.press("1\n")
        terminal.until("remap 2 is approved")
        assert states(cli) == {1: "superseded", 2: "approved"}
        terminal.until("any other key: quit")
        terminal.step("u", "undone: remap 2 is pending again")
        assert states(cli) == {1: "approved", 2: "pending"}


def test_r44_import_leaves_what_is_approved_unless_it_is_named(cli: Cli) -> None:
    """R44: a row that contradicts an approved remap stays pending (exit 3) and says so; --replace names that one."""
    filled_with(cli, (OLD, ROUTED))
    cli("approve", 1)
    file = cli.folder / "rows.csv"
    file.write_text(f"state,old_uri,new_uri\napproved,{OLD},{OTHER}\n")
    cli("import", file, "--replace", 1, code=2)
    assert "remap 1, approved by" in cli("import", file, "--approve", code=3).err
    assert states(cli) == {1: "approved", 2: "pending"}
    cli("import", file, "--approve", "--replace", 1)
    assert states(cli) == {1: "superseded", 2: "approved"}
