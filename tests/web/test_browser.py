"""The page in headless Chromium gives the results of the command line, and nothing leaves the computer."""

import base64
import csv
import io
import json
from pathlib import Path

import browser as tools
import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from ferlib.core.boxes import iou, nms
from ferlib.core.crops import CropGeometry, cut_face
from ferlib.core.images import fit, resize, to_gray
from ferlib.faces import Face, match_box
from ferlib.faces.mtcnn import MtcnnDetector
from ferlib.faces.tracker import FaceTracker
from ferlib.predict import main as predict
from ferlib.web.page import page_files

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(tools.CHROMIUM is None, reason="there is no Chromium (Debian's package chromium)"),
]

HOPPER = Path(__file__).parents[2] / "docs" / "images" / "grace_hopper.jpg"


def moving_hopper() -> list[np.ndarray]:
    """Return BGR frames of 640 x 480 pixels in which a face moves to the right and back."""
    photo = cv2.resize(cv2.imread(str(HOPPER)), (410, 480), interpolation=cv2.INTER_AREA)
    frames = []
    for step in (*range(30), *range(30, 0, -1)):
        frame = np.full((480, 640, 3), 90, np.uint8)
        frame[:, 60 + 4 * step : 470 + 4 * step] = photo
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def address(service) -> str:
    return f"{service.url}/"


@pytest.fixture(scope="module")
def playwright():
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright, tmp_path_factory):
    camera = tmp_path_factory.mktemp("camera") / "hopper.mjpeg"
    tools.write_mjpeg(camera, moving_hopper())
    with tools.open_browser(
        playwright,
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ) as chromium:
        yield chromium


@pytest.fixture
def page(browser, address):
    with tools.open_page(browser, address) as tab:
        tools.wait_until_ready(tab)
        yield tab


def command_line(folder: Path, *arguments: object) -> tuple[list[dict], list[dict]]:
    """Return what ``ferlib predict`` writes as JSON Lines and as CSV."""
    outputs = [folder / "records.jsonl", folder / "faces.csv"]
    assert predict([*map(str, arguments), "--output-json", str(outputs[0]), "--output-csv", str(outputs[1])]) == 0
    records = [json.loads(line) for line in outputs[0].read_text().splitlines()]
    return records, list(csv.DictReader(io.StringIO(outputs[1].read_text())))


def assert_same_faces(found: list[dict], expected: list[dict]) -> None:
    """Boxes differ by a pixel at most, probabilities by 0.01, and everything has the same names in the same order."""
    assert len(found) == len(expected)
    for face, same in zip(found, expected, strict=True):
        assert list(face) == list(same)
        np.testing.assert_allclose(face["box"], same["box"], atol=1)
        assert iou(face["box"], same["box"]) >= 0.9
        assert face["confidence"] == pytest.approx(same["confidence"], abs=0.01)
        assert list(face["landmarks"]) == list(same["landmarks"])
        np.testing.assert_allclose(list(face["landmarks"].values()), list(same["landmarks"].values()), atol=1)
        assert list(face["probabilities"]) == list(same["probabilities"])
        np.testing.assert_allclose(
            list(face["probabilities"].values()), list(same["probabilities"].values()), atol=0.01
        )
        assert face["emotion"] == same["emotion"]


def assert_same_photographs(page: Page, paths: list[Path], folder: Path) -> None:
    tools.analyze(page, *paths)
    records, rows = command_line(folder, *paths)
    found = tools.saved_records(page, "#photos-json")
    assert [record["file"] for record in found] == [path.name for path in paths]
    for record, expected in zip(found, records, strict=True):
        assert list(record) == list(expected)
        assert {**record, "file": "", "faces": []} == {**expected, "file": "", "faces": []}
        assert_same_faces(record["faces"], expected["faces"])
    saved = list(csv.DictReader(io.StringIO(tools.save(page, "#photos-csv")[1])))
    assert [list(row) for row in saved] == [list(row) for row in rows]
    for row, expected in zip(saved, rows, strict=True):
        for name, value in row.items():
            if name == "file":
                assert value == Path(expected["file"]).name
            elif name in ("frame", "time", "face", "emotion", "prior"):
                assert value == expected[name]
            else:
                assert float(value) == pytest.approx(
                    float(expected[name]), abs=1 if name in "x y width height" else 0.01
                )


def test_photographs_get_the_results_of_the_command(page, tmp_path):
    photo = Image.open(HOPPER)
    variants = {
        "plain.jpg": photo,
        "large.png": photo.resize((900, 1054)),
        "gray.png": photo.convert("L"),
        'a "quoted", name.webp': photo.crop((100, 60, 400, 400)),
        "tiny.png": photo.crop((178, 110, 351, 330)).resize((40, 51)),
        "cut_by_the_edge.png": photo.crop((255, 40, 511, 351)),
        "filling.png": photo.crop((190, 140, 340, 320)).resize((101, 121)),
        "no_face.png": Image.new("RGB", (320, 200), "#aaccee"),
    }
    paths = []
    for name, image in variants.items():
        image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        paths.append(tmp_path / name)
    rotated = tmp_path / "rotated.jpg"
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.rotate(90, expand=True).save(rotated, exif=exif, quality=95)
    transparent = tmp_path / "transparent.png"
    photo.convert("RGBA").save(transparent)
    assert_same_photographs(page, [*paths, rotated, transparent], tmp_path)


@pytest.mark.real_data
def test_real_photographs_get_the_results_of_the_command(page, tmp_path, photos_dir):
    assert_same_photographs(page, sorted(photos_dir.glob("*.jpg")), tmp_path)


def test_settings_change_the_results(page, tmp_path):
    tools.analyze(page, HOPPER)
    page.click("summary:has-text('Settings')")
    page.select_option("#prior", "training")
    [expected], _ = command_line(tmp_path, HOPPER, "--prior", "training")
    [record] = tools.saved_records(page, "#photos-json")
    assert record["prior"] == expected["prior"] == "training"
    assert_same_faces(record["faces"], expected["faces"])
    page.fill("#min-probability", "99")
    page.press("#min-probability", "Enter")
    [expected], _ = command_line(tmp_path, HOPPER, "--prior", "training", "--min-probability", "0.99")
    [record] = tools.saved_records(page, "#photos-json")
    assert record["faces"][0]["emotion"] == expected["faces"][0]["emotion"] == "uncertain"
    expect(page.locator("table.face caption")).to_have_text("Face 1: uncertain")


@pytest.mark.parametrize(("event", "name"), [("DragEvent", "drop"), ("ClipboardEvent", "paste")])
def test_dropped_and_pasted_images_are_analyzed(page, event, name):
    script = """([content, event, name]) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const data = new DataTransfer();
      data.items.add(new File([bytes], "moved.jpg", { type: "image/jpeg" }));
      const options = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
      document.dispatchEvent(new globalThis[event](name, options));
    }"""
    page.evaluate(script, [base64.b64encode(HOPPER.read_bytes()).decode(), event, name])
    expect(page.locator("table.face caption")).to_contain_text("Face 1: neutral", timeout=60_000)
    assert [record["file"] for record in tools.saved_records(page, "#photos-json")] == ["moved.jpg"]


def test_files_that_are_not_images_are_reported(page, tmp_path):
    wrong = tmp_path / "wrong.jpg"
    wrong.write_text("This is no image.")
    tools.analyze(page, wrong, HOPPER)
    expect(page.locator("#photo-list .notice")).to_have_text("This browser cannot read the file as an image.")
    failed, good = tools.saved_records(page, "#photos-json")
    assert failed == {"file": "wrong.jpg", "error": "This browser cannot read the file as an image."}
    assert len(good["faces"]) == 1
    page.click("#photos-clear")
    expect(page.locator("#photos")).to_be_hidden()
    assert page.evaluate("() => document.activeElement.id") == "choose"


def test_camera(page):
    page.click("#camera")
    expect(page.locator("#timeline figcaption").first).to_contain_text("Person 1, 0.0 to", timeout=60_000)
    page.wait_for_timeout(2500)
    expect(page.locator("#stream-facts")).to_contain_text("480 pixels")
    expect(page.locator("#stream-said")).to_contain_text("Person 1: ")
    # The mirror image on the screen, as people expect it; records have the camera's own coordinates.
    assert page.evaluate("() => getComputedStyle(document.querySelector('#video')).transform").startswith("matrix(-1,")
    # At once, because the next frame may move the box.
    read = "() => ['x', 'width'].map((name) => Number(document.querySelector('#stage rect').getAttribute(name)))"
    shown = page.evaluate(read)
    page.click("#stop")
    assert page.evaluate("() => document.querySelector('#video').srcObject") is None
    *frames, summary = tools.saved_records(page, "#stream-json")
    # On a very busy machine a person may be lost between two frames.
    ids = {face["track_id"] for frame in frames for face in frame["faces"]}
    assert {1} <= ids <= {1, 2, 3}
    assert summary["frames"] == len(frames) >= 2
    assert {track["track_id"] for track in summary["tracks"]} == ids
    own = [640 - shown[0] - shown[1], shown[1]]
    assert any(np.allclose(own, [face["box"][0], face["box"][2]]) for frame in frames for face in frame["faces"])
    assert frames[0]["time"] == 0
    assert np.all(np.diff([frame["time"] for frame in frames]) > 0)
    name, text = tools.save(page, "#stream-csv")
    assert name == "camera.csv"
    assert len(text.splitlines()) == 1 + sum(len(frame["faces"]) for frame in frames)


def test_video_gets_the_tracks_of_the_command(page, tmp_path):
    video = tmp_path / "hopper.webm"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"VP80"), 20, (640, 480))
    for frame in moving_hopper():
        writer.write(frame)
    writer.release()
    # Slow enough for a busy machine: the browser skips the frames for which it has no time.
    page.evaluate("() => (document.querySelector('#video').defaultPlaybackRate = 0.25)")
    page.set_input_files("#files", video)
    expect(page.locator("#video")).to_have_js_property("ended", True, timeout=60_000)
    *frames, summary = tools.saved_records(page, "#stream-json")
    (*expected, expected_summary), rows = command_line(tmp_path, video)
    assert list(frames[0]) == list(expected[0])
    assert list(summary) == list(expected_summary)
    [track], [expected_track] = summary["tracks"], expected_summary["tracks"]
    assert list(track) == list(expected_track)
    np.testing.assert_allclose(
        list(track["probabilities"].values()), list(expected_track["probabilities"].values()), atol=0.05
    )
    assert len(frames) >= 2
    times = np.array([frame["time"] for frame in expected])
    for frame in frames:
        same = expected[int(np.abs(times - frame["time"]).argmin())]
        assert iou(frame["faces"][0]["box"], same["faces"][0]["box"]) > 0.6
    header = tools.save(page, "#stream-csv")[1].splitlines()[0]
    assert header.split(",") == list(rows[0])


def test_first_visit_is_small_and_all_from_one_host(browser, address):
    context = browser.new_context()
    tab = context.new_page()
    requests = []
    context.on("requestfinished", lambda request: requests.append(request))
    tab.goto(address)
    tools.wait_until_ready(tab)
    assert all(request.url.startswith((address, "blob:")) for request in requests)
    names = {request.url.removeprefix(address) for request in requests}
    assert {"page.js", "worker.js", "models/emotion.onnx"} <= names
    assert any(name.endswith(".wasm") for name in names)
    size = sum(request.sizes()["responseBodySize"] for request in requests if request.url.startswith("http"))
    assert 4e6 < size < 9e6
    context.close()


def test_content_security_policy_is_strict(page, address):
    # Isolation from other sites is what allows several threads.
    assert page.evaluate("() => crossOriginIsolated") is True
    policy = page.request.get(address).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert not any(word in policy for word in ("http:", "https:", "*"))
    # A static host sends no headers: the page itself states the same policy, but for what only a header can state.
    own = page.get_attribute("meta[http-equiv]", "content")
    assert set(own.split("; ")) <= {part.replace(" data:", "") for part in policy.split("; ")}
    blocked = """async () => {
      const violation = new Promise((resolve) => {
        document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
      });
      fetch("https://example.org/").catch(() => {});
      return violation;
    }"""
    logged = pytest.raises(AssertionError, match="Content Security Policy")
    with logged, tools.open_page(page.context.browser, address) as other:
        assert other.evaluate(blocked) == "connect-src"


@pytest.mark.parametrize(("size", "scheme"), [((1280, 900), "light"), ((390, 844), "dark")], ids=["desktop", "phone"])
def test_nothing_is_cut_off(browser, address, size, scheme):
    viewport = {"width": size[0], "height": size[1]}
    with tools.open_page(browser, address, viewport=viewport, color_scheme=scheme) as page:
        tools.wait_until_ready(page)
        tools.analyze(page, HOPPER)
        for summary in page.locator("summary").all():
            summary.click()
        assert page.evaluate("() => document.documentElement.scrollWidth") == size[0]
        for button in page.get_by_role("button").all():
            box = button.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size[0]
            assert box["height"] >= 40
        colors = page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        back, front = (np.mean([int(value) for value in color[4:-1].split(",")]) for color in colors)
        assert (back < front) == (scheme == "dark")
        expect(page.locator("#model-card table").first).to_be_visible()


def test_keyboard_and_names_for_screen_readers(page):
    page.on("filechooser", lambda chooser: chooser.set_files(HOPPER))
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(page.evaluate("() => document.activeElement.textContent.trim()"))
    assert names == ["Skip to the content", "Choose files", "Open the camera", "Settings"]
    page.focus("#choose")
    page.keyboard.press("Enter")
    expect(page.locator("#photos-json")).to_be_enabled(timeout=60_000)
    expect(page.get_by_role("status").filter(has_text="1 photograph, 1 face")).to_be_visible()
    expect(page.get_by_role("img", name="Photograph grace_hopper.jpg")).to_be_visible()
    table = page.get_by_role("table", name="Face 1: neutral")
    assert table.get_by_role("rowheader").all_text_contents()[:2] == ["angry", "disgust"]
    unnamed = page.locator("button:visible, input:visible, select:visible").evaluate_all(
        "(all) => all.filter((e) => !e.textContent.trim() && !e.labels?.length && !e.ariaLabel).map((e) => e.id)"
    )
    assert unnamed == []


def test_static_folder_works_without_headers_that_isolate(browser, tmp_path):
    import http.server
    import threading
    from functools import partial

    from ferlib.export.__main__ import main as export

    class Handler(http.server.SimpleHTTPRequestHandler):
        extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

        def log_message(self, *arguments):
            pass

    assert export(["--format", "web", str(tmp_path / "site")]) == 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with tools.open_page(browser, f"http://127.0.0.1:{server.server_port}/site/") as page:
            tools.wait_until_ready(page)
            expect(page.locator("#status")).to_contain_text("1 thread.")
            assert page.evaluate("() => crossOriginIsolated") is False
            tools.analyze(page, HOPPER)
            [record] = tools.saved_records(page, "#photos-json")
            [expected], _ = command_line(tmp_path, HOPPER)
            assert_same_faces(record["faces"], expected["faces"])
    finally:
        server.shutdown()
        server.server_close()


def test_without_webassembly_photographs_are_sent_only_after_agreement(browser, address):
    with tools.open_page(browser, address, script="delete globalThis.WebAssembly") as page:
        sent = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        expect(page.locator("#problem")).to_contain_text("no WebAssembly", timeout=60_000)
        expect(page.locator("#camera")).to_be_disabled()
        page.set_input_files("#files", HOPPER)
        expect(page.locator("#ask")).to_be_visible()
        page.keyboard.press("Enter")
        expect(page.locator("#ask")).to_be_hidden()
        expect(page.locator("#photos")).to_be_hidden()
        assert sent == []
        expect(page.locator("#privacy")).to_contain_text("stay on this computer")
        page.set_input_files("#files", HOPPER)
        page.get_by_role("button", name="Send photographs", exact=True).click()
        expect(page.locator("#photos-json")).to_be_enabled(timeout=60_000)
        assert sent == [f"{address}v1/faces"]
        expect(page.locator("table.face caption")).to_contain_text("Face 1: neutral")
        expect(page.locator("#privacy")).to_contain_text("are sent to the service")


# The parts in JavaScript against those in Python.


def as_bytes(image: np.ndarray) -> dict:
    return {
        "data": image.ravel().tolist(),
        "height": image.shape[0],
        "width": image.shape[1],
        "channels": image.shape[2],
    }


def test_resizing_and_gray_are_opencv_s(page):
    rng = np.random.default_rng(0)
    script = """async ([image, sizes]) => {
      const { resize, toGray } = await import("./images.js");
      const source = { ...image, data: Uint8ClampedArray.from(image.data) };
      const resized = sizes.map(([height, width]) => resize(source, width, height));
      return [toGray(source), ...resized].map(({ data }) => Array.from(data));
    }"""
    for shape in [(60, 80, 3), (31, 47, 3), (48, 20, 1)]:
        image = rng.integers(0, 256, shape, np.uint8)
        sizes = [(30, 40), (20, 20), (48, 48), (96, 160), (13, 19), (62, 94)]
        gray, *resized = page.evaluate(script, [as_bytes(image), sizes])
        np.testing.assert_array_equal(gray, to_gray(image).ravel())
        for size, found in zip(sizes, resized, strict=True):
            difference = np.abs(np.array(found) - resize(image, size).ravel().astype(int))
            assert difference.max() <= 1
            assert difference.mean() < 0.02


def test_crops_are_those_of_python(page):
    image = np.random.default_rng(3).integers(0, 256, (40, 60, 3), np.uint8)
    boxes = [(10, 5, 15, 22), (0, 0, 20, 31), (48, 20, 12, 20), (0, 0, 60, 40), (20, 0, 9, 40)]
    script = """async ([image, boxes, geometry, sizes]) => {
      const { cutFace } = await import("./faces.js");
      const { fit } = await import("./images.js");
      const source = { ...image, data: Uint8ClampedArray.from(image.data) };
      const faces = boxes.map((box) => cutFace(source, { box }, geometry));
      return [...faces, ...sizes.map(([height, width]) => fit(source, width, height))].map(
        ({ data, height, width }) => ({ data: Array.from(data), shape: [height, width, 3] })
      );
    }"""
    sizes = [(48, 48), (30, 20), (10, 40)]
    geometry = CropGeometry(margin=0.15)
    found = page.evaluate(script, [as_bytes(image), boxes, geometry.to_json(), sizes])
    expected = [cut_face(image, box, geometry) for box in boxes] + [fit(image, size) for size in sizes]
    for item, pixels in zip(found, expected, strict=True):
        assert tuple(item["shape"]) == pixels.shape
        difference = np.abs(np.array(item["data"]) - pixels.ravel().astype(int))
        assert difference.max() <= (1 if pixels.shape[:2] in sizes else 0)


def test_aligned_crops_are_those_of_python(page):
    image = cv2.cvtColor(cv2.imread(str(HOPPER)), cv2.COLOR_BGR2RGB)[60:360, 120:420]
    [face] = MtcnnDetector().detect(image)
    script = """async ([image, face, geometry]) => {
      const { cutFace } = await import("./faces.js");
      const { data, height, width } = cutFace({ ...image, data: Uint8ClampedArray.from(image.data) }, face, geometry);
      return { data: Array.from(data), shape: [height, width, 3] };
    }"""
    turned = {**face.landmarks, "right_eye": (face.landmarks["right_eye"][0], face.landmarks["right_eye"][1] + 25)}
    profile = {name: (100 + (x - 100) / 9, 100 + (y - 100) / 9) for name, (x, y) in face.landmarks.items()}
    for landmarks, margin in [(face.landmarks, 0.0), (turned, 0.4), (profile, 0.1)]:
        geometry = CropGeometry(method="landmarks", margin=margin)
        argument = {"box": face.box, "landmarks": landmarks}
        found = page.evaluate(script, [as_bytes(image), argument, geometry.to_json()])
        expected = cut_face(image, face.box, geometry, landmarks=landmarks)
        assert tuple(found["shape"]) == expected.shape
        difference = np.abs(np.array(found["data"]) - expected.ravel().astype(int))
        # OpenCV computes positions in 32nds of a pixel.
        assert difference.mean() < 0.5
        assert np.quantile(difference, 0.999) <= 4


def test_suppression_is_that_of_python(page):
    rng = np.random.default_rng(1)
    starts = rng.uniform(0, 60, (80, 2))
    corners = np.concatenate([starts, starts + rng.uniform(10, 40, (80, 2))], axis=1)
    scores = rng.integers(0, 20, 80) / 20
    script = """async ([corners, scores, threshold, mode, greedy]) => {
      const { nms } = await import("./boxes.js");
      return nms(corners, scores, threshold, { mode, greedy });
    }"""
    for mode in ("union", "min"):
        for greedy in (True, False):
            found = page.evaluate(script, [corners.ravel().tolist(), scores.tolist(), 0.4, mode, greedy])
            assert found == nms(corners, scores, 0.4, mode=mode, greedy=greedy).tolist()


class ScriptedDetector:
    """Finds in each "image", a 1 x 1 array with the frame's number, the faces of a table."""

    def __init__(self, frames):
        self.frames = frames

    def detect(self, image):
        return self.frames[int(image[0, 0, 0])]

    def redetect(self, image, faces):
        return [match_box(self.frames[int(image[0, 0, 0])], face.box) for face in faces]


def test_tracks_are_those_of_python(page):
    rng = np.random.default_rng(2)
    frames = []
    for number in range(120):
        found = []
        for person in range(3):
            # People cross, and each is hidden for a while.
            if not 30 * (person + 1) <= number < 30 * (person + 1) + 12 and rng.random() > 0.1:
                x, y = 20 + 60 * person + (2 - 2 * person) * number, 40 + rng.integers(-2, 3)
                found.append(Face((int(x), int(y), 50, 60), float(rng.choice([0.95, 0.99]))))
        frames.append(sorted(found, key=lambda face: face.box))
    tracker = FaceTracker(ScriptedDetector(frames))
    expected = []
    for number in range(len(frames)):
        tracked = tracker.update(np.full((1, 1, 1), number, np.uint8), number / 10)
        expected.append([[item.track_id, *item.face.box] for item in tracked])
    script = """async (frames) => {
      const { FaceTracker } = await import("./tracker.js");
      const { iou } = await import("./boxes.js");
      const detector = {
        detect: async (number) => frames[number],
        redetect: async (number, faces) => faces.map((face) => {
          const overlaps = frames[number].map((other) => iou(other.box, face.box));
          const largest = Math.max(0, ...overlaps);
          return largest >= 0.3 ? frames[number][overlaps.indexOf(largest)] : null;
        }),
      };
      const tracker = new FaceTracker(detector);
      const result = [];
      for (let number = 0; number < frames.length; number++) {
        const tracked = await tracker.update(number, number / 10);
        result.push(tracked.map(({ trackId, face }) => [trackId, ...face.box]));
      }
      return result;
    }"""
    rows = [[{"box": face.box, "confidence": face.confidence} for face in found] for found in frames]
    assert page.evaluate(script, rows) == expected
    assert max(row[0] for rows in expected for row in rows) >= 3


def test_every_script_of_the_page_is_served(address, page):
    for name in page_files():
        assert page.request.get(address + name).ok, name
