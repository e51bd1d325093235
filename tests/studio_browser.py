"""Chromium for the tests of the page: it says what went wrong on its console."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest
from studio_client import TOKEN, StudioClient

_ARGUMENTS = [
    *("--disable-gpu", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--no-first-run"),
    "--autoplay-policy=no-user-gesture-required",
]


@dataclass
class Page:
    """A page of the studio, and what its console and its requests said."""

    page: Any
    client: StudioClient
    problems: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    allowed: set[int] = field(default_factory=set)  # statuses that a test provokes

    def open(self, view: str = "", project: Any = None) -> None:
        """Opens a view of a project, or the list of projects."""
        where = f"#{view}/{quote(str(project), safe='')}" if view else ""
        address = f"http://{self.client.host}/"
        if self.page.url == "about:blank":
            self.page.goto(f"{address}?token={TOKEN}")
            assert "token" not in self.page.url
        self.page.goto(address + where)
        self.page.wait_for_selector(f"main.{view or 'projects'} h1", timeout=60_000)

    def check(self) -> None:
        """No error, no warning, nothing asked for from elsewhere."""
        assert not self.problems, self.problems
        elsewhere = [a for a in self.addresses if self.client.host not in a]
        assert not [a for a in elsewhere if not a.startswith(("blob:", "data:"))]


@contextmanager
def open_chromium() -> Iterator[Any]:
    """A browser; skips where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium: apt-get install chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, chromium_sandbox=False, args=_ARGUMENTS
        )
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any, client: StudioClient, **look: Any) -> Iterator[Page]:
    """A page of its own, with its own cookies."""
    # Playwright's waiting needs eval, which the page's policy forbids.
    context = browser.new_context(bypass_csp=True, **look)
    page = context.new_page()
    page.set_default_timeout(60_000)
    made = Page(page, client)

    def note(message: Any) -> None:
        expected = any(f"status of {n}" in message.text for n in made.allowed)
        if message.type in ("error", "warning") and not expected:
            made.problems.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: made.problems.append(str(error)))
    page.on("request", lambda request: made.addresses.append(request.url))
    yield made
    context.close()


def wait_for_text(page: Page, text: str, where: str = "body") -> None:
    page.page.wait_for_function(
        "([where, text]) => document.querySelector(where)?.innerText.includes(text)",
        arg=[where, text],
    )
