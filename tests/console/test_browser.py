"""The console in a real browser: every page and key, for people with and without scripts, on a screen and a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from re import fullmatch

import pytest
from playwright.sync_api import Browser
from sqlalchemy import update

from redirectd.console.pages import PAGES
from redirectd.store.remap import State
from redirectd.store.schema import audit, evidence, remap, remap_peer
from redirectd.store.tokens import Role
from tests.console.browser import PHONE, WIDE, Visitors, chromium, record, visited
from tests.console.conftest import Site
from tests.review.remap_store import STRANGER

TARGETS = """[[target]]
name = "users"
kind = "kamailio-htable"
path = "users.dbtext"
"""
PATHS = (
    "/queue",
    "/queue?view=all",
    "/queue?view=held&domain=old",
    "/remaps/1",
    "/remaps/2",
    "/remaps/3",
    "/plan",
    "/generations",
    "/generations/1",
    "/audit",
    "/audit?remap=1",
    "/sources",
    "/nodes",
    "/remaps/9999",
)


def test_every_page_is_looked_at() -> None:
    """A page that is added is seen in a browser, too."""
    shown = [path.partition("?")[0] for path in PATHS]
    pages = [one.path for one in PAGES.pages if one.method == "GET" and one.path not in {"/", "/static/{name}"}]
    assert {
        page for page in pages if not any(fullmatch(page.replace("{name}", "[^/]+"), one) for one in shown)
    } == set()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Ends with this module: while it runs, no other test of the process can begin an event loop."""
    with chromium() as found:
        yield found


@pytest.fixture
def visitors(site: Site, browser: Browser, tmp_path: Path) -> Iterator[Visitors]:
    """A console over three pending remaps: 1 plain, 2 untrusted, 3 with two Contacts."""
    with visited(site, browser, f"{TARGETS.replace('users.db', f'{tmp_path}/users.db')}\n") as found:
        yield found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["screen", "phone"])
def test_every_page_is_for_everybody(visitors: Visitors, size: tuple[int, int], dark: bool) -> None:
    """axe-core finds nothing against WCAG AA on any page, and none is wider than its window."""
    ada = visitors.person(size=size, dark=dark)
    for path in PATHS:
        ada.open(path)
        assert (path, ada.faults(), ada.overflow()) == (path, [], 0)
    ada.page.click("text=Sign out")
    ada.page.wait_for_url("**/sign-in")
    assert (ada.page.title(), ada.faults(), ada.overflow()) == ("Sign in - redirectd", [], 0)


def test_every_key_of_the_queue(visitors: Visitors) -> None:
    """j k o x a r s / ? u do what the page says of them."""
    ada = visitors.person()
    page = ada.open("/queue")
    here = page.locator(".row.here .open")
    ada.press("j")
    assert here.inner_text() == "1"
    ada.press("j", "s", "j")
    assert here.inner_text() == "3"  # the last: it goes no further
    ada.press("k", "k")
    assert here.inner_text() == "1"
    ada.press("x")
    assert page.locator("#chosen").inner_text() == "1 chosen"
    ada.press("x", "?")
    assert page.locator("dialog").is_visible()
    ada.press("a", "Escape", "/")  # no key decides while the keys are shown
    assert page.evaluate("document.activeElement.name") == "domain"
    ada.press("a", "r", "Escape", "o")
    page.wait_for_url("**/remaps/1?**")
    page.go_back()
    ada.press("j", "a")
    page.wait_for_url("**said=**")
    assert "1 remap approved." in ada.notice()
    assert visitors.site.store.get(1).state is State.APPROVED
    ada.press("u")
    page.wait_for_selector("text=taken back for 1 remap")
    assert visitors.site.store.get(1).state is State.PENDING
    ada.press("j", "j", "x", "r")
    page.wait_for_selector("text=1 remap rejected")
    assert [one.state for one in visitors.site.store.all()] == [State.PENDING, State.REJECTED, State.PENDING]
    assert visitors.site.store.get(2).decided_by == "local:ada"


def test_one_key_does_not_approve_what_is_held(visitors: Visitors) -> None:
    """R26: for an untrusted one the key a asks for a reason; without it the button is refused, with it done."""
    ada = visitors.person()
    page = ada.open("/queue?view=held")
    ada.press("j", "a")
    assert page.evaluate("document.activeElement.name") == "reason"
    assert "held" in page.locator("#live").inner_text()
    page.click("button[value=approve]")
    assert "1 refused" in ada.notice()
    assert visitors.site.store.get(2).state is State.PENDING
    page.check("[name=row] >> nth=0")
    page.fill("#reason", "the carrier confirmed it by phone")
    page.click("button[value=approve]")
    page.wait_for_selector("text=1 remap approved")
    assert visitors.site.store.get(2).state is State.APPROVED


def test_every_key_of_a_remap(visitors: Visitors) -> None:
    """On the page of one remap s goes on, a and r decide and lead to the next one, u takes it back there."""
    ada = visitors.person()
    page = ada.open("/remaps/1")
    ada.press("s")
    page.wait_for_url("**/remaps/2?**")
    ada.press("a")
    assert page.evaluate("document.activeElement.name") == "reason"
    ada.press("Escape", "?")
    assert page.locator("dialog").is_visible()
    ada.press("Escape", "r")
    page.wait_for_url("**/remaps/3?**")
    assert "remap 2: 1 remap rejected" in ada.notice()
    ada.press("u")
    page.wait_for_url("**/remaps/2?**")
    assert "taken back" in ada.notice()
    assert visitors.site.store.get(2).state is State.PENDING
    page = ada.open("/remaps/1")
    ada.press("a")
    page.wait_for_url("**/remaps/2?**")
    assert visitors.site.store.get(1).state is State.APPROVED
    ada.press("/")
    page.wait_for_url("**/queue?**")


def test_a_key_pressed_twice_decides_once(visitors: Visitors) -> None:
    """The second press of a key, which the next remap's page gets before anybody can have looked, decides nothing."""
    ada = visitors.person()
    ada.page.add_init_script("performance.now = () => window.at ?? 0")
    page = ada.open("/remaps/1")
    ada.press("r")
    page.wait_for_url("**/remaps/2?**")
    ada.press("r")
    assert "look at it" in page.locator("#live").inner_text()
    assert visitors.site.store.get(2).state is State.PENDING
    page.evaluate("window.at = 701")
    ada.press("r")
    page.wait_for_url("**/remaps/3?**")
    assert visitors.site.store.get(2).state is State.REJECTED


def test_a_choice_of_contact_and_a_note(visitors: Visitors) -> None:
    """R15: with two Contacts nothing is approved until one is chosen; the note is kept, and can be taken back."""
    ada = visitors.person()
    page = ada.open("/remaps/3")
    page.click("button[value=approve]")
    assert "not done" in ada.notice()
    page.check("[name=contact][value='2']")
    page.click("button[value=approve]")
    page.wait_for_selector("text=1 remap approved")
    assert visitors.site.store.get(3).new_uri == "sip:eve@two.example"
    page = ada.open("/remaps/1")
    page.fill("[name=note]", "ask <b>Ben</b>")
    page.click("text=Write note")
    page.wait_for_selector("text=note written")
    assert visitors.site.store.get(1).note == "ask <b>Ben</b>"
    ada.press("u")
    page.wait_for_selector("text=taken back")
    assert visitors.site.store.get(1).note == ""


def test_a_suspicious_one_needs_force_and_a_reason(visitors: Visitors) -> None:
    """R27: it is approved only on its own page, with the tick and a written reason."""
    number = visitors.site.store.sighted("sip:dan@old.example.com", "sip:dan@127.0.0.1").id
    ada = visitors.person()
    page = ada.open(f"/remaps/{number}")
    page.fill("#reason", "our own host")
    page.click("button[value=approve]")
    assert "not done" in ada.notice()
    page.check("[name=force]")
    page.click("button[value=approve]")
    page.wait_for_selector("text=1 remap approved")
    assert visitors.site.store.get(number).state is State.APPROVED


def test_two_people_at_once(visitors: Visitors) -> None:
    """What somebody else has decided since it was shown is refused alone; the rest of the selection is decided."""
    visitors.site.store.sighted("sip:fay@old.example.com", "sip:fay@new.example.net")
    ada, ben = visitors.person(), visitors.person("ben")
    ada.open("/queue?view=free")
    ben.open("/queue?view=free")
    ada.press("j", "a")
    ada.page.wait_for_selector("text=1 remap approved")
    ben.page.check("#all")
    ben.press("r")
    ben.page.wait_for_selector("text=refused")
    assert "1 remap rejected, 1 refused" in ben.notice()
    assert "it has changed since it was looked at" in ben.notice()
    states = {one.id: one.state for one in visitors.site.store.all()}
    assert sorted(states.values()) == ["approved", "pending", "pending", "rejected"]
    assert states[1] is State.APPROVED


def test_it_works_without_scripts(visitors: Visitors) -> None:
    """Filter, choice, decision, note and undo are forms: all of it can be done where scripts do not run."""
    ada = visitors.person(script=False)
    page = ada.open("/queue")
    page.click("summary")
    page.fill("#filter", "old.example.com")
    page.click(".filter button")
    page.wait_for_url("**domain=old.example.com**")
    page.check("[name=row] >> nth=0")
    page.click("button[value=reject]")
    assert "1 remap rejected" in ada.notice()
    page.click("#undo button")
    page.wait_for_selector("text=taken back")
    assert "taken back for 1 remap" in ada.notice()
    assert visitors.site.store.get(1).state is State.PENDING


def test_a_viewer_is_shown_no_decision(visitors: Visitors) -> None:
    """Who may only look sees every page, no button that decides, and no key that does."""
    vic = visitors.person("vic", Role.VIEWER)
    page = vic.open("/queue")
    assert page.locator("button[value=approve]").count() == 0
    vic.press("j", "a", "x", "r")
    assert "nothing to" in page.locator("#live").inner_text()
    assert vic.open("/remaps/1").locator("button[value]").count() == 0
    assert [one.state for one in visitors.site.store.all()] == [State.PENDING] * 3


HOSTILE = (
    "\x1b[31m\x1b]0;x\x07\u202emoc.dab\u202c\u2066\u0627\u0644\u0639\u0631\u0628\u064a\u0629 "
    "<script>window.run=1</script><img src=x onerror='window.run=1'>\"' onfocus='window.run=1' autofocus x=' "
    "{{7*7}} </title></pre></textarea></svg> " + "\u0301" * 50 + "W" * 8000
)


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["screen", "phone"])
def test_hostile_remaps_run_and_break_nothing(visitors: Visitors, size: tuple[int, int]) -> None:
    """R25: ANSI, HTML, bidi, right-to-left and 8 kB texts in every field are text on every page, in their place."""
    store = visitors.site.store
    long = store.sighted(
        "sip:" + "a" * 8000 + "@old.example.com", "sip:" + "b" * 8000 + "@new.example.net", text=HOSTILE
    )
    escaped = store.sighted(
        "sip:%3Cscript%3E%E2%80%AE@old.example.com", "sip:%1B[31m@new.example.net".replace("[", "%5B")
    )
    store.approve(1)
    with store.database.begin() as connection:
        connection.execute(
            update(evidence).values(text=HOSTILE, call_id=HOSTILE, peer=HOSTILE[:200], source=HOSTILE[:200])
        )
        connection.execute(update(remap).values(note=HOSTILE, facts='{"<script>window.run=1</script>": "<b>x</b>"}'))
        connection.execute(update(remap_peer).values(peer=HOSTILE[:60]))
        connection.execute(update(audit).values(reason=HOSTILE, actor=HOSTILE[:60]))
    ada = visitors.person(size=size)
    paths = (*PATHS[:-1], f"/remaps/{long.id}", f"/remaps/{escaped.id}")
    for path in paths:
        page = ada.open(path)
        text = page.evaluate("document.documentElement.outerHTML")
        assert page.evaluate("window.run") is None, path
        assert not {"\x1b", "\x07", "\u202e", "\u2066", "\u0627", "\u0301"} & set(text), path
        assert page.locator("script").count() == 1, path
        assert page.locator("img, [onfocus], [onerror]").count() == 0, path
        assert ada.overflow() == 0, path
        assert page.locator("footer").is_visible(), path


def test_a_recorded_review(visitors: Visitors, tmp_path: Path) -> None:
    """Three moves, one of them forged-looking, are reviewed with the browser alone, a picture of each step."""
    store = visitors.site.store
    answer = (
        "SIP/2.0 301 Moved Permanently\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK7\r\n"
        "Call-ID: 7f3c@203.0.113.66\r\nCSeq: 1 INVITE\r\nContact: <sip:+88216500@192.168.7.7>\r\nContent-Length: 0\r\n"
    )
    forged = store.sighted("sip:+4930555@old.example.com", "sip:+88216500@192.168.7.7", peer=STRANGER, text=answer)
    ada = visitors.person()
    page = ada.open("/queue")
    ada.press("j")
    record(page, tmp_path, "console-queue")
    ada.press("o")
    page.wait_for_url("**/remaps/1?**")
    record(page, tmp_path, "console-ladder")
    ada.press("a")
    page.wait_for_url("**/remaps/2?**")
    page.fill("#reason", "asked the carrier: they have a new gateway")
    page.click("button[value=approve]")
    page.wait_for_url("**/remaps/3?**")
    page = ada.open(f"/remaps/{forged.id}")
    assert page.locator(".flags").inner_text().count("suspicious") == 1
    record(page, tmp_path, "console-held")
    ada.press("a")
    record(page, tmp_path, "console-reason")
    page.fill("#reason", "a satellite number and a private address, from a stranger")
    page.click("button[value=reject]")
    page.wait_for_selector("text=1 remap rejected")
    record(page, tmp_path, "console-decided")
    states = {one.id: (one.state, one.decided_by) for one in store.all()}
    assert states == {
        1: (State.APPROVED, "local:ada"),
        2: (State.APPROVED, "local:ada"),
        3: (State.PENDING, None),
        forged.id: (State.REJECTED, "local:ada"),
    }
    assert len(list(tmp_path.glob("console-*.png"))) == 5
