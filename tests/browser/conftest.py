"""A real browser on pages that are served over real HTTP: Chromium, an organisation, its site and a page of it."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import shop
from databases import Ledger
from keyseat_issuer.ledger.models import Organization
from web_server import serve

CHROMIUM = os.environ.get("KEYSEAT_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",  # tests may run as root, where Chromium's sandbox does not start; only our own pages are opened
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

expect.set_options(timeout=20_000)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser, or a skip; no longer than a module: elsewhere its event loop would be in the way."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed here, nor named by KEYSEAT_TEST_CHROMIUM")
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's own event loop runs in this thread; nothing of Django runs in it.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def org(ledger: Ledger) -> Organization:
    """An organisation with its owner."""
    return shop.organization("Example Organisation")


@pytest.fixture
def site(org: Organization) -> Iterator[str]:
    """The origin that the pages are served from."""
    with serve() as origin:
        yield origin


@pytest.fixture
def page(chromium: Browser, site: str) -> Iterator[Page]:
    """A page of a browser that was never here; what it complains of is a failure."""
    context = chromium.new_context(base_url=site)
    context.set_default_timeout(20_000)
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert [] == [text for text in complaints if "status of 4" not in text]
