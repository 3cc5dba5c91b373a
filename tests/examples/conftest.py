"""The page as `make web` puts it together, served on loopback, in a real Chromium."""

import functools
import http.server
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = REPOSITORY / "node_modules"
# Chromium's own services would add requests that are not the page's.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the packages of package.json."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("needs node")
    if not (MODULES / ".dev").exists():
        pytest.skip("needs the npm packages: make node_modules/.dev")
    return program


@pytest.fixture(scope="session")
def site(artifacts: Path, node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, put together from the reference model."""
    folder = tmp_path_factory.mktemp("web") / "web"
    assemble = REPOSITORY / "examples" / "browser" / "assemble.py"
    subprocess.run([sys.executable, assemble, artifacts, folder], check=True)
    handler = functools.partial(_Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *arguments: object) -> None:
        """Keep the tests' output to the tests."""


# Playwright keeps an event loop in this thread while it is open: other modules have their own.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """The page, loaded and with its first answer; an error in it fails the test."""
    with browser.new_context(viewport={"width": 1200, "height": 900}) as context:
        page = context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(site)
        page.locator("#answer[aria-busy=false]").wait_for()
        yield page
        assert not errors
