import re

import pytest
from documents import DOCUMENTS, ROOT, prose, read

import ferlib


def _anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_and_headings(document):
    missing = []
    for target in re.findall(r"(?:\]\(|src=\")([^)\s\"]+)", prose(document)):
        name, _, anchor = target.partition("#")
        if "://" in target:
            continue
        path = (ROOT / document).parent / name if name else ROOT / document
        if not path.exists() or (anchor and anchor not in _anchors(path.read_text(encoding="utf-8"))):
            missing.append(target)
    assert missing == []


def test_index_links_every_page():
    linked = set(re.findall(r"\]\((\w[\w-]*\.md)\)", read("docs/index.md")))
    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}


def test_readme_lists_every_notebook():
    linked = set(re.findall(r"\]\(notebooks/([^)]+)\)", read("README.md")))
    assert linked == {path.name for path in (ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")}


def test_every_model_is_documented():
    from ferlib.models import list_models

    section = read("docs/training.md").split("## Models")[1].split("\n## ")[0]
    assert tuple(sorted(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE))) == list_models()


def test_every_package_is_documented():
    section = read("docs/architecture.md").split("## Layers")[1].split("\n## ")[0]
    folders = {path.name for path in (ROOT / "ferlib").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert set(re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)) == folders


def test_changelog_has_this_version():
    assert f"## [{ferlib.__version__}]" in read("CHANGELOG.md")


def test_readme_is_short():
    assert len(read("README.md").splitlines()) <= 150
    words = re.sub(r"<!--.*?-->", "", prose("README.md"), flags=re.DOTALL).split()
    assert len(words) <= 1000
