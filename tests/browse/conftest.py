"""A headless Chromium, driven through chromedriver's HTTP interface; skips where there is none."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the WebDriver standard's key


class Browser:
    """What the tests need of WebDriver."""

    def __init__(self, base: str, chromium: str, profile: str):
        options = {
            "binary": chromium,
            "args": [
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                f"--user-data-dir={profile}",
            ],
        }
        wanted = {
            "alwaysMatch": {"goog:chromeOptions": options, "unhandledPromptBehavior": "ignore"}
        }
        session = _call(f"{base}/session", {"capabilities": wanted})
        self._base = f"{base}/session/{session['sessionId']}"

    def open(self, url: str) -> None:
        _call(f"{self._base}/url", {"url": url})

    def resize(self, width: int, height: int) -> None:
        _call(f"{self._base}/window/rect", {"width": width, "height": height})

    def run(self, script: str):
        return _call(f"{self._base}/execute/sync", {"script": script, "args": []})

    def element(self, css: str) -> str:
        found = _call(f"{self._base}/element", {"using": "css selector", "value": css})
        return found[ELEMENT]

    def click(self, css: str) -> None:
        _call(f"{self._base}/element/{self.element(css)}/click", {})

    def type(self, css: str, text: str) -> None:
        _call(f"{self._base}/element/{self.element(css)}/value", {"text": text})

    def close(self) -> None:
        request = urllib.request.Request(self._base, method="DELETE")
        urllib.request.urlopen(request, timeout=30).close()


def _call(url, body):
    data = json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["value"]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    chromium = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with chromedriver on this machine")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        base = f"http://127.0.0.1:{port}"
        _wait_until_ready(base)
        made = Browser(base, chromium, str(tmp_path_factory.mktemp("chromium")))
        yield made
        made.close()
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(base: str) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{base}/status", timeout=5) as answer:
                if json.load(answer)["value"]["ready"]:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise TimeoutError("chromedriver did not get ready in ten seconds")
