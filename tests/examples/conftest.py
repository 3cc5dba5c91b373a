"""The page as `make web` puts it together, served on loopback, in a real Chromium; its modules
in a real node."""

import functools
import http.server
import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from henaw.model.runtime import OnnxRuntime
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
MODULES = REPOSITORY / "node_modules"
SHIPPED = REPOSITORY / "model" / "weights"
# Chromium's own services would add requests that are not the page's.
QUIET = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class ModuleError(Exception):
    """What a module of the page threw; `code` is its code."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer["error"])
        self.code = answer["code"]


Call = Callable[..., Any]


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
def call(node: str) -> Iterator[Call]:
    """Call a function of a module of the page in node; "sidecar" is the model's."""
    program = Path(__file__).with_name("modules.mjs")
    with subprocess.Popen(
        [node, program, SHIPPED / "henaw.json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def call(module: str, function: str, *arguments: Any) -> Any:
            to.write(
                json.dumps({"module": module, "function": function, "arguments": arguments}) + "\n"
            )
            to.flush()
            answer = json.loads(back.readline())
            if "error" in answer:
                raise ModuleError(answer)
            return answer.get("value")

        yield call
        to.close()


@pytest.fixture(scope="session")
def people() -> ModuleType:
    """What a person types, and what the model says of it: people.py, which no test can import."""
    spec = importlib.util.spec_from_file_location("people", Path(__file__).with_name("people.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def sidecar() -> Any:
    """The shipped model's sidecar."""
    return json.loads((SHIPPED / "henaw.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def onnx() -> OnnxRuntime:
    """The shipped model."""
    return OnnxRuntime(SHIPPED / "henaw.onnx")


@pytest.fixture(scope="session")
def site(node: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, put together from the shipped model."""
    folder = tmp_path_factory.mktemp("web") / "web"
    assemble = REPOSITORY / "examples" / "browser" / "assemble.py"
    subprocess.run([sys.executable, assemble, SHIPPED, folder], check=True)
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


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of somebody who reads English and is not in the United States."""
    with browser.new_context(
        viewport={"width": 1200, "height": 900},
        locale="en-GB",
        service_workers="block",
        accept_downloads=True,
    ) as context:
        context.set_default_timeout(10_000)
        yield context


@pytest.fixture(scope="module")
def opened(context: BrowserContext, site: str) -> Iterator[tuple[Page, list[str]]]:
    """The page, which most tests share since to load the model takes a second; its errors."""
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(site)
    yield page, errors
    page.close()


@pytest.fixture
def page(opened: tuple[Page, list[str]]) -> Iterator[Page]:
    """The page as somebody sees it who is there for the first time; an error in it fails the
    test."""
    page, errors = opened
    errors.clear()
    page.set_viewport_size({"width": 1200, "height": 900})
    page.locator("main[aria-busy=false]").wait_for()
    page.locator("#language").select_option("en")
    page.locator("#units-si").check(force=True)
    page.evaluate("location.hash = 'enter'")
    page.locator("#clear").click()
    page.evaluate(FORGET)
    page.fill("#report-text", "")
    yield page
    assert not errors


FORGET = """() => {
    localStorage.clear();
    sessionStorage.clear();
    return new Promise((resolve) => {
        const request = indexedDB.deleteDatabase("henaw");
        request.onsuccess = request.onerror = request.onblocked = resolve;
    });
}"""
