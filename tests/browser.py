"""Headless Chromium by chromedriver, which speaks W3C WebDriver over HTTP: a few requests, no package."""

import base64
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
_START_S = 60


class Browser:
    """One window."""

    def __init__(self, port: int, folder: Path) -> None:
        self._base = f"http://127.0.0.1:{port}"
        options = {"args": [*_FLAGS, f"--user-data-dir={folder}"], "binary": CHROMIUM}
        asked = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": asked}})
        self._base += f"/session/{made['sessionId']}"

    def look(self, width: int, height: int = 900, *, dark: bool = False, media: str = "screen") -> None:
        """How wide it is in CSS pixels, and what the page is told of its reader."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._protocol("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._protocol("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})

    def open(self, page: Path) -> list[str]:
        """Show a file; what its console says."""
        self._ask("POST", "/se/log", {"type": "browser"})
        self._ask("POST", "/url", {"url": page.as_uri()})
        return self.complaints()

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def run(self, script: str) -> Any:
        """What the script returns; of a promise what becomes of it."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def screenshot(self, to: Path) -> None:
        """The whole page."""
        shot = self._protocol("Page.captureScreenshot", {"captureBeyondViewport": True})
        to.write_bytes(base64.b64decode(shot["data"]))

    def printed(self) -> bytes:
        """As PDF, A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69, "printBackground": False}
        return base64.b64decode(self._protocol("Page.printToPDF", paper)["data"])

    def end(self) -> None:
        self._ask("DELETE", "", None)

    def _protocol(self, command: str, parameters: dict[str, Any]) -> Any:
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, method: str, path: str, content: Any) -> Any:
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self._base + path, data, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
            return json.load(answer)["value"]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A Chromium of its own, and its driver at a port that the kernel chooses."""
    assert DRIVER is not None
    log = folder / "driver.log"
    with log.open("w") as out, subprocess.Popen([DRIVER, "--port=0"], stdout=out, stderr=out) as driver:
        try:
            window = Browser(_port(log), folder / "profile")
            try:
                yield window
            finally:
                window.end()
        finally:
            driver.terminate()


def _port(log: Path) -> int:
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            if "started successfully on port" in line:
                return int(line.rstrip(".").rpartition(" ")[2])
        time.sleep(0.05)
    raise AssertionError(log.read_text())
