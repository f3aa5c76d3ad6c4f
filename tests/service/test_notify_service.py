"""A real service and a real HTTP receiver: what arrives, what a bad receiver can't do, and what is never shown."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from redirectd.errors import ConfigError, RedirectdError
from redirectd.service import delivery
from redirectd.service.delivery import ByApprise, Webhook
from redirectd.service.notifications import Notice
from tests.service.receiver import Receiver
from tests.service.service import ROOT, Service, until

MESSAGE = Notice("id-1", "title", "text", {"id": "id-1", "text": "text"})


def notify(folder: Path, receiver: Receiver, name: str = "team", more: str = 'wait = "0s"\npause = "0s"\n') -> str:
    """The table of a receiver, with its URL in a file."""
    file = folder / f"{name}.url"
    file.write_text(receiver.url + "\n")
    file.chmod(0o600)
    return f'[[notify]]\nname = "{name}"\nurl_file = "{name}.url"\n{more}'


def counts(receiver: Receiver) -> int:
    """How many new remaps it got."""
    return sum(one["counts"].get("pending", 0) for one in receiver.got)


def pending(service: Service) -> int:
    """How many there are."""
    command = [sys.executable, "-m", "redirectd", "--config", str(service.config), "events", "--kind", "pending"]
    done = subprocess.run([*command, "--json"], capture_output=True, check=True, cwd=ROOT)
    return len(json.loads(done.stdout)["events"])


@contextmanager
def fed(service: Service, corpus: Path) -> Iterator[None]:
    """Runs the service, which reads a log with several moves."""
    service.log.touch()
    with service:
        service.until_notified("READY")
        service.log.write_bytes((corpus / "kamailio/snippet-all-cases.log").read_bytes())
        yield


def test_new_remaps_arrive(tmp_path: Path, corpus: Path) -> None:
    """What the service learns arrives, each remap counted once, and the URL is in no log record."""
    with Receiver() as receiver:
        service = Service(tmp_path, extra=notify(tmp_path, receiver))
        with fed(service, corpus):
            until(lambda: service.records("notification_sent"), "it is sent")
            until(lambda: counts(receiver) == pending(service), "all of them arrived")
            assert service.stop() == 0
    assert receiver.got[0]["path"] == "/hook/s3cret?token=t0ken"
    assert receiver.headers[0]["Idempotency-Key"] == receiver.got[0]["id"]
    assert "s3cret" not in service.stderr()
    assert "t0ken" not in service.stderr()


@pytest.mark.parametrize("answer", [0, 500, 302])
def test_a_bad_receiver_holds_up_nothing(tmp_path: Path, corpus: Path, answer: int) -> None:
    """One that hangs, fails or redirects: reading goes on, another receiver is served, the service stops at once."""
    with Receiver(answers=[answer] * 100) as bad, Receiver() as good:
        service = Service(tmp_path, extra=notify(tmp_path, bad) + notify(tmp_path, good, "other"))
        with fed(service, corpus):
            until(lambda: good.got and bad.got, "both were tried")
            until(lambda: counts(good) == pending(service), "the other got all")
            if answer:
                until(lambda: service.records("notification_failed"), "the failure is logged")
                record = service.records("notification_failed")[0]
                assert record["why"] == f"it answered {answer}"
                assert record["where"] == f"notify team, http://127.0.0.1:{bad.port}/***"
            assert service.stop() == 0
        assert {one["path"] for one in bad.got} == {"/hook/s3cret?token=t0ken"}
    assert "s3cret" not in service.stderr()


def test_one_that_was_away_is_told_later(tmp_path: Path, corpus: Path) -> None:
    """Nobody listens: it is tried again, also by the service that comes after a kill, and then arrives once."""
    with Receiver() as first:
        port = first.port
    gone = Receiver(port=port)
    service = Service(tmp_path, extra=notify(tmp_path, gone))
    with fed(service, corpus):
        until(lambda: service.records("notification_failed"), "it is tried")
        service.signal(signal.SIGKILL)
    with gone, service:
        until(lambda: counts(gone) == pending(service), "it arrives")
        assert service.stop() == 0
    assert len({one["id"] for one in gone.got}) == len(gone.got)


def test_drawn_out_answers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that says nothing fails the message within a bounded time, and the error has no secret."""
    monkeypatch.setattr(delivery, "WHOLE_SECONDS", 0.2)
    with Receiver(answers=[0]) as receiver, pytest.raises(RedirectdError) as refused:
        Webhook("team", receiver.url).send(MESSAGE)
    assert "s3cret" not in f"{refused.value} {refused.value.where} {refused.value.what_to_do}"
    assert "notify.conf" in refused.value.what_to_do


@pytest.mark.parametrize(
    "url",
    [
        "ftp://x/s3cret",
        "http://",
        "nonsense s3cret",
        "http://h:port/s3cret",
        "https://h/\u202e",
        "https://a..b/s3cret",
        "https://a b/s3cret",
        f"https://{'a' * 64}/s3cret",
    ],
)
def test_what_is_not_a_webhook_is_refused(url: str) -> None:
    """A URL of another kind is an error that does not show it."""
    with pytest.raises(ConfigError) as refused:
        Webhook("team", url)
    assert "s3cret" not in f"{refused.value.where} {refused.value.why} {refused.value.what_to_do}"


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://[2001:db8::7]/s3cret", 80), ("https://[2001:db8::7]/", 443), ("http://[2001:db8::7]:81", 81)],
)
def test_an_ipv6_address_keeps_its_end(monkeypatch: pytest.MonkeyPatch, url: str, port: int) -> None:
    """The last group of an address is not a port, and errors write the address as the URL does."""
    asked: list[object] = []

    def refuse(address: object, *_: object) -> None:
        asked.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("socket.create_connection", refuse)
    with pytest.raises(RedirectdError) as refused:
        Webhook("team", url).reach()
    assert asked == [("2001:db8::7", port)]
    assert "//[2001:db8::7]" in refused.value.where


def test_spaces_of_a_query_are_escaped() -> None:
    """A URL that 'check' calls good can be sent to, whatever its query holds."""
    with Receiver() as receiver:
        Webhook("team", f"{receiver.url} of ours").send(MESSAGE)
        assert receiver.got[0]["path"].endswith("?token=t0ken%20of%20ours")


def test_apprise_posts_and_shows_no_secret(capfd: pytest.CaptureFixture[str]) -> None:
    """Apprise's json: scheme delivers the plain text; its failure and an unknown URL name no secret."""
    with Receiver() as receiver:
        ByApprise("team", f"json://127.0.0.1:{receiver.port}/s3cret").send(MESSAGE)
        assert receiver.got[0]["message"] == "text"
    with pytest.raises(RedirectdError) as refused:
        ByApprise("team", f"json://127.0.0.1:{receiver.port}/s3cret").send(MESSAGE)
    with pytest.raises(ConfigError) as unknown:
        ByApprise("team", "nonsense-s3cret://x")
    printed = capfd.readouterr()
    for text in (refused.value.where, refused.value.why, unknown.value.where, unknown.value.why, *printed):
        assert "s3cret" not in text


def test_apprise_is_imported_only_where_it_is_used() -> None:
    """Neither the commands nor a service that notifies by webhook load it."""
    code = "import sys, redirectd.cli.commands.check, redirectd.service.from_config, redirectd.service.delivery; "
    code += "raise SystemExit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def run(folder: Path, *words: str, environ: dict[str, str] | None = None) -> tuple[int, Any, str]:
    """Exit code, JSON and standard error of a command."""
    command = [sys.executable, "-m", "redirectd", "--config", str(folder / "redirectd.toml"), *words, "--json"]
    known = os.environ | (environ or {})
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=known)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def test_a_test_message(tmp_path: Path) -> None:
    """`notify test` sends to all or to the named, from a file, the environment or a credential; failures are exit 1."""
    with Receiver() as one, Receiver(answers=[404]) as other:
        text = notify(tmp_path, one) + notify(tmp_path, other, "other-team")
        (tmp_path / "redirectd.toml").write_text(f'node = "sip1"\n{text}')
        code, document, error = run(tmp_path, "notify", "test")
        assert (code, document["sent"]) == (1, ["team"])
        assert document["errors"][0]["why"] == "it answered 404"
        assert one.got[0]["test"] is True
        (tmp_path / "other-team.url").unlink()
        away = {"REDIRECTD_NOTIFY_OTHER_TEAM_URL": other.url}
        assert run(tmp_path, "notify", "test", "other-team", environ=away)[1]["sent"] == ["other-team"]
        (tmp_path / "credentials").mkdir()
        (tmp_path / "credentials/notify-other-team-url").write_text(other.url)
        given = {"CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")}
        assert run(tmp_path, "notify", "test", "other-team", environ=given)[0] == 0
        assert len(other.got) == 3
        code, document, error = run(tmp_path, "notify", "test", "tean")
        assert code == 2
        assert "did you mean 'team'" in error
        assert "s3cret" not in error


def test_check_tries_without_sending(tmp_path: Path) -> None:
    """`check` connects and says what is wrong: a receiver that is away, a file that others read, a wrong flag."""
    with Receiver() as receiver:
        text = notify(tmp_path, receiver) + notify(tmp_path, receiver, "open", 'flag = "untrustd"\n')
        (tmp_path / "open.url").chmod(0o644)
        (tmp_path / "redirectd.toml").write_text(f'[database]\nurl = "sqlite:///redirectd.db"\n{text}')
        found = [one for one in run(tmp_path, "check")[1]["findings"] if one["where"].startswith("notify ")]
        assert receiver.got == []
    by = {(one["where"].partition(",")[0], one["level"]): one for one in found}
    assert "nothing was sent" in by["notify team", "ok"]["why"]
    assert "every user of this host may read it" in by["notify open", "warning"]["why"]
    assert any("did you mean 'untrusted'" in one["what_to_do"] for one in found)
    found = [one for one in run(tmp_path, "check")[1]["findings"] if one["where"].startswith("notify team")]
    assert [one["level"] for one in found] == ["fault"]
    assert "drop-in notify.conf" in found[0]["what_to_do"]
    assert "s3cret" not in json.dumps(found)


def test_check_looks_at_the_units_network(tmp_path: Path) -> None:
    """Where systemd keeps the service from a receiver that this command reached, `check` names the drop-in."""
    from redirectd.cli.checks.notify_check import check_notify
    from redirectd.config.load import load

    with Receiver() as receiver:
        (tmp_path / "redirectd.toml").write_text(notify(tmp_path, receiver))
        config = load(tmp_path / "redirectd.toml")

        def levels(allowed: str) -> list[str]:
            unit = {"IPAddressDeny": "::/0 0.0.0.0/0", "IPAddressAllow": allowed}
            return [one.level.value for one in check_notify(config, lambda: unit)]

        assert levels("127.0.0.0/8 ::1/128") == ["ok"]
        assert levels("192.0.2.0/24") == ["fault", "ok"]
