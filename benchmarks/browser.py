"""The page in headless Chromium, compared with the Python package: ``python benchmarks/browser.py``.

A camera of 640 x 480 pixels with one moving face is analyzed for some seconds, in turns with the same frames in Python.
``--screenshots DIR`` saves the page with the photograph of Grace Hopper at desktop and phone width, light and dark.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from playwright.sync_api import Browser, Page, expect, sync_playwright

from ferlib import EmotionRecognizer
from ferlib.inference.stream import predict_video
from ferlib.video import Frame

PHOTO = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
SIZES = {"desktop": (1160, 1080), "phone": (390, 844)}


def main() -> None:
    """Measure and print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each kind (default: 3)")
    parser.add_argument("--seconds", type=float, default=8, help="length of one measurement (default: 8)")
    parser.add_argument("--screenshots", type=Path, metavar="DIR", help="save screenshots, and measure nothing")
    args = parser.parse_args()
    frames = moving_face()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, serve() as address:
        camera = Path(folder) / "camera.mjpeg"
        camera.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
        fake = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=[*FLAGS, *fake, f"--use-file-for-fake-video-capture={camera}"],
        )
        if args.screenshots:
            save_screenshots(browser, address, args.screenshots)
        else:
            measure_first_visit(browser, address)
            measure_camera(browser, address, frames, args.rounds, args.seconds)
        browser.close()


def moving_face() -> list[np.ndarray]:
    """Return BGR frames of 640 x 480 pixels in which one face moves to the right and back."""
    photo = cv2.resize(cv2.imread(str(PHOTO)), (410, 480), interpolation=cv2.INTER_AREA)
    frames = []
    for step in (*range(30), *range(30, 0, -1)):
        frame = np.full((480, 640, 3), 90, np.uint8)
        frame[:, 60 + 4 * step : 470 + 4 * step] = photo
        frames.append(frame)
    return frames


@contextmanager
def serve() -> Iterator[str]:
    """Run the service; yield its address."""
    command = [sys.executable, "-m", "ferlib", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            found = re.search(r"http://\S+", line)
            if not found:
                sys.exit(f"the service did not start: {line}")
            yield found[0].rstrip("/") + "/"
        finally:
            server.terminate()


def open_page(browser: Browser, address: str, **options: object) -> Page:
    """Return a tab in which the networks are loaded."""
    page = browser.new_context(**options).new_page()  # type: ignore[arg-type]
    page.goto(address)
    expect(page.locator("#status")).to_contain_text("Ready", timeout=120_000)
    return page


def measure_first_visit(browser: Browser, address: str) -> None:
    """Print what a first visit downloads, compressed, and how long the networks take to load."""
    context = browser.new_context()
    requests = []
    context.on("requestfinished", lambda request: requests.append(request))
    page = context.new_page()
    started = time.perf_counter()
    page.goto(address)
    expect(page.locator("#status")).to_contain_text("Ready", timeout=120_000)
    seconds = time.perf_counter() - started
    size = sum(request.sizes()["responseBodySize"] for request in requests if request.url.startswith("http"))
    print(f"first visit: {size / 1e6:.2f} MB in {len(requests)} files, ready after {seconds:.1f} s")
    context.close()


def measure_camera(browser: Browser, address: str, frames: list[np.ndarray], rounds: int, seconds: float) -> None:
    """Print frames per second of the page and of Python, measured in turns."""
    recognizer = EmotionRecognizer(min_face_size=40)
    rates: dict[str, list[float]] = {"page": [], "python": []}
    costs: dict[str, list[float]] = {"page": [], "python": []}
    page = open_page(browser, address)
    for _ in range(rounds):
        page.click("#camera")
        expect(page.locator("#stream-json")).to_be_enabled(timeout=60_000)
        before = _count_rows(page), _processor_seconds()
        page.wait_for_timeout(1000 * seconds)
        costs["page"].append((_processor_seconds() - before[1]) / max(1, _count_rows(page) - before[0]))
        page.click("#stop")
        with page.expect_download() as download:
            page.click("#stream-csv")
        rows = [line.split(",") for line in Path(download.value.path()).read_text(encoding="utf-8").splitlines()[1:]]
        rates["page"].append((len(rows) - 1) / (float(rows[-1][2]) - float(rows[0][2])))
        rate, cost = _python_rate(recognizer, frames, seconds)
        rates["python"].append(rate)
        costs["python"].append(cost)
    values = {name: np.median(rate) for name, rate in rates.items()}
    print(f"camera 640 x 480, one face: page {values['page']:.1f} frames/s (the camera has 30), ", end="")
    print(f"Python {values['python']:.0f} frames/s; ", end="")
    print(
        f"processor time per frame: {1000 * np.median(costs['page']):.0f} ms in all processes of the browser, ", end=""
    )
    print(f"{1000 * np.median(costs['python']):.0f} ms in Python")


def _count_rows(page: Page) -> int:
    """Return the number of rows of the CSV file so far."""
    with page.expect_download() as download:
        page.click("#stream-csv")
    return len(Path(download.value.path()).read_text(encoding="utf-8").splitlines())


def _processor_seconds() -> float:
    """Return the processor time of the browser's processes, on Linux: it depends little on what else is running."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        pid, values = int(path.parent.name), rest.split()
        parents[pid] = int(values[1])
        ticks[pid] = sum(map(int, values[11:13])) if "chrom" in name else 0

    def is_own(pid: int) -> bool:
        while pid in parents and pid != os.getpid():
            pid = parents[pid]
        return pid == os.getpid()

    return sum(count for pid, count in ticks.items() if is_own(pid)) / os.sysconf("SC_CLK_TCK")


def _python_rate(recognizer: EmotionRecognizer, frames: list[np.ndarray], seconds: float) -> tuple[float, float]:
    """Return the frames per second of the Python package and the processor time of one, without decoding."""
    images = [cv2.cvtColor(frame, cv2.COLOR_BGR2RGB) for frame in frames]
    started, before = time.perf_counter(), time.process_time()
    n_done = 0

    def stream() -> Iterator[Frame]:
        for number in range(1_000_000):
            if time.perf_counter() - started > seconds:
                return
            yield Frame(number, number / 30, images[number % len(images)])

    for _ in predict_video(stream(), recognizer, path="camera"):
        n_done += 1
    return n_done / (time.perf_counter() - started), (time.process_time() - before) / n_done


def save_screenshots(browser: Browser, address: str, folder: Path) -> None:
    """Save the page with a photograph and with the camera."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in SIZES.items():
        for scheme in ("light", "dark"):
            page = open_page(browser, address, viewport={"width": width, "height": height}, color_scheme=scheme)
            page.set_input_files("#files", PHOTO)
            expect(page.locator("table.face")).to_be_visible(timeout=60_000)
            page.wait_for_timeout(500)
            page.screenshot(path=folder / f"photo-{name}-{scheme}.png", full_page=name == "phone")
            page.click("#photos-clear")
            page.click("#camera")
            expect(page.locator("#timeline figcaption")).to_contain_text("to 4", timeout=60_000)
            page.screenshot(path=folder / f"camera-{name}-{scheme}.png", full_page=True)
            page.context.close()


if __name__ == "__main__":
    main()
