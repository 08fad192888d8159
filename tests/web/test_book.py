"""The book in headless Chromium: every page, its images, links and search, without anything from another host."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import browser as tools
import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import Browser, Page, expect, sync_playwright

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.long,
    # Where reports/series is missing, the notebooks are executed.
    pytest.mark.timeout(1800),
    pytest.mark.skipif(tools.CHROMIUM is None, reason="there is no Chromium (Debian's package chromium)"),
]


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript"}

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Path:
    """Return the folder of the pages."""
    folder = tmp_path_factory.mktemp("book")
    command = [sys.executable, ROOT / "tools" / "build_book.py", "--output", folder]
    command += ["--parameter", "SAMPLE_SIZE", "700", "--parameter", "EPOCHS", "1"]
    done = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder / "html"


@pytest.fixture(scope="module")
def address(book) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=book))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, tools.open_browser(playwright) as chromium:
        yield chromium


@pytest.fixture(scope="module")
def documents(book) -> dict[str, BeautifulSoup]:
    """Return every page of the book by its address within the book; the page for photographs has its own tests."""
    pages = [
        path for path in sorted(book.rglob("*.html")) if path.relative_to(book).parts[0] not in ("page", "_static")
    ]
    return {
        path.relative_to(book).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for path in pages
    }


def _is_light(color: str) -> bool:
    """Return whether a CSS color such as ``rgb(20, 24, 30)`` is nearer to white than to black, and opaque."""
    red, green, blue, *alpha = (float(value) for value in color[color.index("(") + 1 : -1].split(","))
    return sum((red, green, blue)) > 3 * 127 and (not alpha or alpha[0] == 1)


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")], ids=["desktop", "phone"])
def test_every_page_is_whole(browser, address, documents, width, scheme):
    faults = []
    with tools.open_page(
        browser, address, notes=True, viewport={"width": width, "height": 900}, color_scheme=scheme
    ) as page:
        for name in documents:
            page.goto(address + name)
            unseen = page.evaluate(
                "async () => { const all = [...document.images]; all.forEach((image) => { image.loading = 'eager'; });"
                " await Promise.allSettled(all.map((image) => image.decode()));"
                " return all.filter((image) => !image.naturalWidth).map((image) => image.src); }"
            )
            faults += [f"{name} does not show {image}" for image in unseen]
            if page.evaluate("() => document.documentElement.scrollWidth") > width:
                faults.append(f"{name} is wider than {width} pixels")
            dark = not _is_light(page.evaluate("() => getComputedStyle(document.body).backgroundColor"))
            if dark != (scheme == "dark"):
                faults.append(f"{name} is not {scheme}")
    assert faults == []


def test_links_lead_to_pages_and_headings(book, documents):
    broken = []
    for name, document in documents.items():
        for link in document.find_all("a", href=True):
            target, anchor = urldefrag(urljoin(f"http://book/{name}", link["href"]))
            place = urlsplit(target)
            if place.netloc != "book":
                assert place.scheme in ("http", "https"), target
                continue
            path = unquote(place.path).lstrip("/")
            found = path in documents or (book / path).is_file()
            if found and anchor and path in documents:
                found = documents[path].find(id=unquote(anchor)) is not None
            if not found:
                broken.append(f"{name}: {link['href']}")
    assert broken == []


def test_book_has_everything(documents):
    notebooks = {f"notebooks/{path.stem}.html" for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    texts = {f"docs/{path.stem}.html" for path in (ROOT / "docs").glob("*.md")}
    cards = {f"references/{path.stem}.html" for path in (ROOT / "references").glob("*.md")}
    others = {"index.html", "CHANGELOG.html", "CONTRIBUTING.html", "ferlib/assets/default/model_card.html"}
    assert (notebooks | texts | cards | others) <= set(documents)
    sidebar = {
        urljoin("http://book/index.html", link["href"]).removeprefix("http://book/")
        for link in documents["index.html"].select(".bd-sidebar-primary a[href]")
    }
    assert (notebooks | texts | cards | others) - {"index.html"} <= sidebar
    recognizer = documents["api/ferlib.inference.recognizer.html"]
    method = recognizer.find(id="ferlib.inference.recognizer.EmotionRecognizer.recognize")
    assert method is not None
    assert "Parameters" in method.parent.get_text()


def test_no_page_names_folders_of_this_machine(documents):
    assert [name for name, document in documents.items() if str(ROOT) in document.get_text()] == []


def test_executed_notebooks_show_figures_and_numbers(documents):
    for name in ("01_eda", "03_train", "04_evaluate"):
        document = documents[f"notebooks/{name}.html"]
        assert len(document.select(".cell_output img")) >= 3, name
        assert document.select(".cell_output table"), name


def test_search_finds_a_term_without_a_server(browser, book):
    page = browser.new_page()
    faults = []
    page.on(
        "requestfailed",
        lambda request: None if request.failure == tools.CANCELED else faults.append(request.url),
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{book.as_uri()}/search.html?q=SMOTE")
    results = page.locator("#search-results li a")
    expect(results.first).to_be_visible(timeout=30_000)
    titles = results.all_text_contents()
    assert any("02" in title for title in titles), titles
    results.filter(has_text="02").first.click()
    expect(page.locator("h1").first).to_contain_text("Preprocess")
    page.close()
    assert faults == []


@pytest.mark.parametrize(
    ("name", "images"),
    [("notebooks/03_train.html", ".cell_output img"), ("docs/architecture.html", "article img[src$='.svg']")],
)
def test_figures_are_readable_on_a_dark_page(browser, address, name, images):
    with tools.open_page(browser, address, notes=True, color_scheme="dark") as page:
        page.goto(address + name)
        backgrounds = page.locator(images).evaluate_all(
            "(all) => all.map((image) => getComputedStyle(image).backgroundColor)"
        )
        assert backgrounds
        # Their lines and letters are dark.
        assert all(map(_is_light, backgrounds))


def test_page_for_photographs_runs_inside_the_book(browser, address):
    with tools.open_page(browser, address, notes=True) as page:
        page.get_by_role("link", name="Try it here").first.click()
        _open_photographs(page)


def _open_photographs(page: Page) -> None:
    page.get_by_role("link", name="Open the page.").click()
    tools.wait_until_ready(page)
    tools.analyze(page, ROOT / "docs" / "images" / "grace_hopper.jpg")
    expect(page.locator("table.face caption").first).to_contain_text("neutral")
