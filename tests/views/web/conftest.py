"""One browser and one server for all tests that look at the console."""

import shutil

import pytest
from playwright.sync_api import sync_playwright

from tests.views.web.serving import ADMIN, console, running

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("no Chromium: install the package chromium (see .ci/system-packages)")
    with sync_playwright() as playwright:
        # CI runs as root in a container, where Chromium's own sandbox cannot start.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def served(shop):
    """Return the address of a console over the shop's ledger."""
    with running(console(shop, ADMIN)) as address:
        yield address
