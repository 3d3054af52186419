"""Looking at a page for what keeps people with disabilities out."""

from typing import Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

# WCAG's rules are what we owe; axe's "best practices" come with them and are kept as well.
SCHEMES: tuple[Literal["light"], Literal["dark"]] = ("light", "dark")
AXE_OPTIONS = {"resultTypes": ["violations"]}


def check(page: Page) -> None:
    """Look for what keeps people with disabilities out, in light and in dark colours."""
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found = Axe().run(page, options=AXE_OPTIONS)
        assert 0 == found.violations_count, f"{page.url} in {scheme}\n{found.generate_report()}"
