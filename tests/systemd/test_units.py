"""The units as systemd's own tools see them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = ("redirectd.service", "redirectd-apply.service")
CONSOLE = "redirectd-console.service"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


def settings(unit: str) -> dict[str, str]:
    """The last value of each setting."""
    text = (UNITS / unit).read_text()
    return dict(re.findall(r"^([A-Z]\w+)=(.*)$", text, re.MULTILINE))


@pytest.mark.parametrize("service", [*SERVICES, CONSOLE])
def test_exposure_is_at_most_1_1(service: str) -> None:
    """systemd-analyze's own measure of what the service could do to the host; --threshold is in tenths of ten."""
    judged = analyze("security", "--offline=true", "--threshold=11", "--no-pager", str(UNITS / service))
    assert judged.returncode == 0, judged.stdout[-2000:]
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", judged.stdout)
    assert found
    assert float(found[1]) <= 1.1


def test_units_are_valid(tmp_path: Path) -> None:
    """No unknown setting, no bad value, no dangling reference; with the drop-ins that a host can have, too."""
    for file in (*UNITS.glob("*.service"), *UNITS.glob("*.timer")):
        text = file.read_text().replace("/usr/bin/redirectd", sys.executable)
        (tmp_path / file.name).write_text(text)
    drop_ins = tmp_path / "redirectd.service.d"
    drop_ins.mkdir()
    for file in (UNITS / "drop-ins").glob("*.conf"):
        shutil.copy(file, drop_ins)
    units = sorted(str(unit) for unit in tmp_path.iterdir() if unit.is_file())
    checked = analyze("verify", "--man=no", "--recursive-errors=no", *units)
    about_us = [line for line in checked.stderr.splitlines() if "redirectd" in line or str(tmp_path) in line]
    assert about_us == []


def test_both_services_are_equally_tight() -> None:
    """What the daemon may not do, the timer's run may not do either."""
    first, second = (settings(unit) for unit in SERVICES)
    tight = [
        name for name in first if re.match(r"Protect|Private|Restrict|SystemCall|Capab|Lock|Memory|NoNew|IPAddr", name)
    ]
    assert len(tight) > 20
    assert {name: second.get(name) for name in tight} == {name: first[name] for name in tight}


def test_the_console_reaches_the_database_alone() -> None:
    """It is as tight as the service, of a user of its own, with no group, folder or log of redirectd's."""
    first, console = settings(SERVICES[0]), settings(CONSOLE)
    tight = [name for name in first if re.match(r"Protect|Private|Restrict|SystemCall|Capab|Lock|NoNew|IPAddr", name)]
    assert {name: console.get(name) for name in tight} == {name: first[name] for name in tight}
    assert (console["User"], console["Group"]) == ("redirectd-console", "redirectd-console")
    assert "/var/log" in console["InaccessiblePaths"]
    assert console["MemoryDenyWriteExecute"] == "yes"
    assert {"SupplementaryGroups", "StateDirectory", "LogsDirectory", "ReadWritePaths", "BindPaths"}.isdisjoint(console)


def test_every_relaxation_has_its_reason() -> None:
    """Each point that systemd-analyze marks is named in a comment of the unit."""
    judged = analyze("security", "--offline=true", "--no-pager", str(UNITS / "redirectd.service")).stdout
    comments = " ".join(line for line in (UNITS / "redirectd.service").read_text().splitlines() if line.startswith("#"))
    marked = re.findall(r"^✗ (\w+)=", judged, re.MULTILINE)
    assert marked
    named = {"RestrictAddressFamilies": "Relaxed, sockets", "IPAddressDeny": "more is allowed by drop-in"}
    assert [name for name in marked if named.get(name, f"{name}=") not in comments] == []


def test_the_watchdog_waits_longer_than_a_locked_database() -> None:
    """SQLite waits 10 s for a lock: a watchdog that is shorter would kill a service that is well."""
    assert int(settings("redirectd.service")["WatchdogSec"]) >= 40


def test_sysusers_and_tmpfiles_are_valid(tmp_path: Path) -> None:
    """They make the user with its groups, and the folders with its rights, in an empty system."""
    if shutil.which("systemd-sysusers") is None or shutil.which("systemd-tmpfiles") is None:
        pytest.skip("systemd-sysusers or systemd-tmpfiles is not installed")
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "redirectd.sysusers")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    passwd = (tmp_path / "etc/passwd").read_text()
    user = r"^redirectd:x?:\d+:\d+:SIP redirect daemon:/var/lib/redirectd:/usr/sbin/nologin$"
    assert re.search(user, passwd, re.MULTILINE)
    assert re.search(r"^redirectd-console:x?:\d+:\d+:SIP redirect console:/:/usr/sbin/nologin$", passwd, re.MULTILINE)
    groups = (tmp_path / "etc/group").read_text()
    for group in ("adm", "systemd-journal"):
        assert re.search(rf"^{group}:x?:\d+:(.*,)?redirectd\b", groups, re.MULTILINE)


def test_timer_comes_every_five_minutes() -> None:
    """Its calendar text means what it should."""
    calendar = settings("redirectd-apply.timer")["OnCalendar"]
    told = analyze("calendar", "--iterations=3", "--base-time=2026-11-22 12:01:00 UTC", calendar)
    minutes = re.findall(r"(?:Next elapse|Iter\. #\d|Iteration #\d).*?:(\d\d):00", told.stdout)
    assert minutes == ["05", "10", "15"], told.stdout
