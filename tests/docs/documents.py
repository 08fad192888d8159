"""Read the documents' text, fenced blocks and commands."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = tuple(
    str(path.relative_to(ROOT))
    for path in (
        *(
            ROOT / name
            for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md", "reports/README.md")
        ),
        *sorted((ROOT / "docs").glob("*.md")),
        *sorted((ROOT / "references").glob("*.md")),
    )
)


def read(document: str) -> str:
    """Return a document's text."""
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str, *languages: str) -> list[str]:
    """Return the fenced blocks of a document that are in one of some languages."""
    fenced = re.findall(r"^```(\w+)\n(.*?)^```$", read(document), flags=re.MULTILINE | re.DOTALL)
    return [text for language, text in fenced if language in languages]


def prose(document: str) -> str:
    """Return a document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", read(document), flags=re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[list[str]]:
    """Return the commands in a document's blocks, and those of ferlib, make and python in its sentences."""
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    sessions = [line for block in blocks(document, "console") for line in block.splitlines()]
    lines += [line.removeprefix("$ ") for line in sessions if line.startswith("$ ")]
    lines += re.findall(r"`((?:make|ferlib|python(?: -m)?) [^`]+)`", prose(document))
    # The repository's address is not known here.
    parts = [part for line in lines if "<" not in line for part in line.split("&&")]
    words = [shlex.split(part, comments=True) for part in parts]
    return [command for command in words if command]
