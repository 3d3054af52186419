"""Makes the pictures of the console: serves the demo's organisation and looks at its pages in Chromium.

Usage: python docs/pictures/console.py

Run by hand when the pages change. Needs the extra `test` (playwright) and Chromium, as the browser tests do.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent
CHROMIUM = os.environ.get("KEYSEAT_TEST_CHROMIUM") or shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
DEMO = "from keyseat_issuer.cli import main; main()"
WIDTH, HEIGHT = 1180, 1270


def main() -> None:
    """Look at a floating product's page as the owner."""
    command = [sys.executable, "-c", DEMO, "demo", "--serve", "--bind", "127.0.0.1:0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as served, sync_playwright() as playwright:  # noqa: S603 - our own command
        if served.stdout is None:
            raise BrokenPipeError
        seeded = json.loads(served.stdout.readline())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(seeded["url"])
        page.get_by_label("Email").fill(seeded["people"][0])
        page.get_by_label("Password").fill(seeded["password"])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="Manage licences").click()
        page.get_by_role("link", name="KRE").click()
        page.screenshot(path=HERE / "console.png")
        browser.close()
        served.terminate()


if __name__ == "__main__":
    main()
