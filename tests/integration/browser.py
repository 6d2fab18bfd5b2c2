"""
A headless Chromium, driven through its debugging pipe: what a person sees of a page, and what the browser complains about.

The protocol (Chrome DevTools Protocol) is JSON, each message ended by a zero byte, over two pipes that it finds as file
descriptors 3 and 4. No port is opened, and no library is needed. Blocking.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self
from unittest import SkipTest

from tests.integration.processes import die_with_parent, wait_until

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "chromium-headless-shell")
OPTIONS = (
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
    "--remote-debugging-pipe",
)
_PAGES = 5
"""How many pages that give way to another one are asked in turn."""
ANSWER_DEADLINE = 30.0
"""Seconds that it may take to start or to answer; two cores may be shared with other loads."""


class _NavigatedError(Exception):
    """The page that was asked has given way to another one."""


def require_chromium() -> str:
    """Return the browser's path, or skip the test."""
    found = next(filter(None, map(shutil.which, COMMANDS)), None)
    if found is None:
        raise SkipTest(f"no browser: none of {', '.join(COMMANDS)} is on the PATH")
    return found


class Browser:
    """
    One browser with one page.

    :ivar complaints: what the page, or the browser about it, wrote to the console; and exceptions.
    :ivar requested: the URLs that the page made it load.
    """

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.requested: list[str] = []
        self._folder = tempfile.mkdtemp(prefix="mpp-test-browser-")
        self._number = 0
        self._rest = b""
        self._session = ""
        self._loaded = False
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        command = [require_chromium(), *OPTIONS, f"--user-data-dir={self._folder}", "about:blank"]
        self._process = subprocess.Popen(
            # Descriptors 3 and 4 are put in place by a shell, which can do so after those of Python's are settled. Not by any sh:
            # in a long run Python's have two digits, and dash takes one.
            ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
            preexec_fn=die_with_parent,
        )
        os.close(theirs_in)
        os.close(theirs_out)

    def start(self) -> Self:
        """Open the page."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")
        return self

    def close(self) -> None:
        """End it, and all that it has started."""
        with contextlib.suppress(OSError):
            os.write(self._out, json.dumps({"id": 0, "method": "Browser.close"}).encode() + b"\0")
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        os.close(self._out)
        shutil.rmtree(self._folder, ignore_errors=True)

    def look(self, *, width: int = 1280, height: int = 900, dark: bool = False, scripts: bool = True) -> None:
        """Choose how pages are looked at from now on."""
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", features=[scheme])
        self._ask("Emulation.setScriptExecutionDisabled", value=not scripts)

    def open(self, url: str) -> None:
        """Open a page and wait until it is loaded."""
        self._loaded = False
        self._ask("Page.navigate", url=url)
        end = time.monotonic() + ANSWER_DEADLINE
        while not self._loaded:
            self._read(end)

    def value(self, expression: str) -> Any:
        """
        Return the value of a script's expression; works where the page's own scripts are off, too.

        A page that gives way to another one in this moment does not answer: then the other one is asked.
        """
        for _ in range(_PAGES):
            with contextlib.suppress(_NavigatedError):
                found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
                break
        else:
            raise AssertionError(f"one page follows the other; asked for {expression}")
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def text(self, selector: str = "body") -> str:
        """Return the text that is seen of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait(self, expression: str, what: str, deadline: float = 15.0) -> Any:
        """Wait for a script's expression to be true."""
        return wait_until(lambda: self.value(expression), f"{what}; {self.text()[:500]}", deadline, every=0.2)

    def screenshot(self, path: Path, size: tuple[int, int] | None = None) -> bytes:
        """Write a picture of the whole page, or of its upper left part of this width and height; return it."""
        clip = {} if size is None else {"clip": {"x": 0, "y": 0, "width": size[0], "height": size[1], "scale": 1}}
        shot = self._ask("Page.captureScreenshot", captureBeyondViewport=True, **clip)
        picture = base64.b64decode(shot["data"])
        path.write_bytes(picture)
        return picture

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + ANSWER_DEADLINE
        while True:
            answer = self._read(end)
            if answer.get("id") == number:
                if "navigated" in answer.get("error", {}).get("message", ""):
                    raise _NavigatedError
                assert "error" not in answer, (method, answer)
                return dict(answer["result"])

    def _read(self, end: float) -> dict[str, Any]:
        """Return the next message, having noted what it tells."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "the browser does not answer"
            piece = os.read(self._in, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, method: str, told: dict[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Log.entryAdded":
            self.complaints.append(f"{told['entry']['level']}: {told['entry']['text']}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(told["args"]))
        elif method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
