"""The page in a real Chromium: where it is found, and what is watched while a test uses it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from playwright.sync_api import Browser, Page, Playwright, expect

#: Chromium, which is not a Python package: Debian's package chromium, or any Chrome.
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

#: Why a request failed that Chromium gave up, as a tab does that goes on while its page's icon is still loading.
CANCELED = "net::ERR_ABORTED"

# Chromium's own requests would be refused; a container's root has no sandbox.
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def open_browser(playwright: Playwright, *flags: str) -> Iterator[Browser]:
    """Yield a headless Chromium."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_FLAGS, *flags])
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def open_page(
    browser: Browser, address: str, *, script: str = "", notes: bool = False, **options: Any
) -> Iterator[Page]:
    """Yield a new tab, in which a script runs first; at its end nothing was asked of another host or logged.

    With `notes`, the page may log notes, but neither warnings nor errors.
    """
    context = browser.new_context(**options)
    page = context.new_page()
    page.add_init_script(script)
    faults: list[str] = []
    allowed = ("log", "info", "debug") if notes else ()
    page.on("console", lambda message: None if message.type in allowed else faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    context.on(
        "requestfailed",
        lambda request: None if request.failure == CANCELED else faults.append(f"failed: {request.url}"),
    )
    context.on(
        "request",
        lambda request: None if request.url.startswith((address, "blob:")) else faults.append(f"asked: {request.url}"),
    )
    try:
        page.goto(address)
        yield page
        assert not faults, faults
    finally:
        context.close()


def wait_until_ready(page: Page) -> None:
    """Wait until the networks are loaded."""
    expect(page.locator("#status")).to_contain_text("Ready", timeout=60_000)


def analyze(page: Page, *paths: Path) -> None:
    """Choose photographs, and wait for their results."""
    page.set_input_files("#files", list(paths))
    expect(page.locator("#photos-facts")).not_to_contain_text("…", timeout=120_000)
    expect(page.locator("#photos-json")).to_be_enabled()


def save(page: Page, button: str) -> tuple[str, str]:
    """Press a button that saves a file; return the file's name and text."""
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def saved_records(page: Page, button: str) -> list[dict[str, Any]]:
    """Return the records that a button saves as JSON Lines."""
    return [json.loads(line) for line in save(page, button)[1].splitlines()]


def write_mjpeg(path: Path, frames: list[np.ndarray]) -> None:
    """Write BGR frames as a file that Chromium shows as a camera."""
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
