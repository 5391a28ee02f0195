"""A page in headless Chromium, driven through its own debugging pipe: what a person would see, hear and press.

As a script it takes pictures: python tests/browser.py PAGE.html FOLDER
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
#: Without the network, a first run's greetings, and a sandbox, which root and most containers lack.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --remote-debugging-pipe "
    "--autoplay-policy=no-user-gesture-required"
).split()

#: Runs a command that reads from descriptor 3 and writes to 4, as the browser does.
AS_3_AND_4 = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[1:3]]
os.dup2(ends[0], 3), os.dup2(ends[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One tab. ``complaints`` are console messages, exceptions and log entries, as text."""

    def __init__(self, read: int, write: int) -> None:
        self._in, self._out = os.fdopen(read, "rb"), os.fdopen(write, "wb")
        self._rest, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A command of the DevTools protocol, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            block = os.read(self._in.fileno(), 1 << 20)
            assert block, "the browser has gone"
            self._rest += block
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        if found.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(found["params"]))
        self.event = found.get("method", "")
        return found

    def open(self, page: Path) -> None:
        """Load a page and wait until it is there."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        while self.event != "Page.loadEventFired":
            self._next()

    def run(self, script: str) -> Any:
        """The value of JavaScript, awaited."""
        found = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, down and up, and what it types."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, text=text)

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The window, in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def scheme(self, name: str) -> None:
        """Light or dark."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def picture(self, path: Path, clip: dict[str, float] | None = None) -> None:
        """A PNG of the window, or of the part of the page that ``clip`` says."""
        more = {"clip": {**clip, "scale": 1}, "captureBeyondViewport": True} if clip else {}
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png", **more)["data"]))


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                AS_3_AND_4,
                str(theirs_in),
                str(theirs_out),
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={profile}",
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        try:
            yield Browser(ours_in, ours_out)
        finally:
            process.terminate()
            process.wait()


#: Pictures of a report: its name, the window's width, light or dark, where it begins, and its height.
PICTURES = (
    ("light", 1000, "light", "body", 1000),
    ("dark", 1000, "dark", "#conditions, #buckets", 1000),
    ("phone", 390, "light", "#regressions", 760),
)


def pictures(page: Path, folder: Path) -> None:
    """A report in light and dark, and on a phone."""
    with browser() as tab:
        for name, width, scheme, begin, height in PICTURES:
            tab.scheme(scheme)
            tab.size(width, 900, phone=width < 500)
            tab.open(page)
            top = tab.run(f"document.querySelector({begin!r}).getBoundingClientRect().y + scrollY")
            tab.picture(folder / f"report-{name}.png", {"x": 0, "y": top, "width": width, "height": height})


if __name__ == "__main__":
    pictures(Path(sys.argv[1]), Path(sys.argv[2]))
