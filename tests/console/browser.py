"""Debian's chromium, driven through the console's pages as people use them."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from redirectd.console.serve import Connection
from redirectd.store.tokens import Role
from tests.console.conftest import PASSWORD, Site

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
WIDE, PHONE = (1200, 900), (390, 800)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser; a test without it is skipped visibly, and fails under CI=true."""
    path = shutil.which("chromium")
    if path is None:
        missing = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        missing("chromium is not installed (.ci/install-peers)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def served(site: Site, more: str = "") -> Iterator[str]:
    """The console on a port of its own; gives its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        site.configure(more, console=f'listen = "{address}"')
        server = uvicorn.Server(
            uvicorn.Config(site.app, http=Connection, ws="none", lifespan="off", log_config=None, access_log=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            sleep(0.01)
        yield f"http://{address}"
        server.should_exit = True
        thread.join(20)


@dataclass
class Person:
    """Somebody at a browser: what went wrong in its pages is kept in `wrong`."""

    context: BrowserContext
    page: Page
    base: str
    wrong: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Opens a page."""
        self.page.goto(self.base + path)
        return self.page

    def press(self, *keys: str) -> Page:
        """Presses keys one after another; gives the page as it is once all has been answered."""
        self.page.wait_for_load_state()  # else the script may not listen yet
        for key in keys:
            self.page.keyboard.press(key)
        self.page.wait_for_load_state()
        return self.page

    def notice(self) -> str:
        """What the page says was done."""
        return self.page.locator(".notice").inner_text()

    def faults(self) -> list[str]:
        """What axe-core finds against WCAG AA on this page."""
        found = Axe().run(self.page, options=WCAG).response["violations"]
        return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]]

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        width: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return width


def _is_fault(message: ConsoleMessage) -> bool:
    """Whether what the browser reports is wrong: not that it was shown the page of an error."""
    return message.type == "error" and not ("status of 4" in message.text and "/static/" not in message.location["url"])


@dataclass
class Visitors:
    """A console with people at it."""

    site: Site
    browser: Browser
    base: str
    people: list[Person] = field(default_factory=list)

    def person(
        self,
        name: str = "ada",
        role: Role = Role.REVIEWER,
        *,
        size: tuple[int, int] = WIDE,
        dark: bool = False,
        script: bool = True,
    ) -> Person:
        """Somebody who has signed in."""
        self.site.add_user(name, role)
        context = self.browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
        )
        context.set_default_timeout(60_000)
        made = Person(context, context.new_page(), self.base)
        made.page.on("console", lambda one: made.wrong.append(one.text) if _is_fault(one) else None)
        made.page.on("pageerror", lambda error: made.wrong.append(str(error)))
        made.page.on("dialog", lambda one: made.wrong.append(one.message))
        made.open("/")
        made.page.fill("[name=name]", name)
        made.page.fill("[name=password]", PASSWORD)
        made.page.click("main button")
        self.people.append(made)
        return made


@contextmanager
def visited(site: Site, browser: Browser, more: str = "") -> Iterator[Visitors]:
    """People at a console; no page of theirs may have had an error or run a script that is not ours."""
    with served(site, more) as base:
        made = Visitors(site, browser, base)
        yield made
        for one in made.people:
            one.context.close()
        assert [one.wrong for one in made.people if one.wrong] == []


def record(page: Page, folder: Path, name: str) -> None:
    """Keeps a picture of the page, also for the docs where PICTURES names their folder."""
    for place in {folder, Path(os.environ.get("PICTURES", folder))}:
        page.screenshot(path=place / f"{name}.png")
