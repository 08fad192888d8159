import json
import re
import subprocess

from documents import ROOT

# Words that the project avoids, as the standard term or a plain word says the same.
_AVOIDED = re.compile(
    r"picture|\banew\b|dealt|\bbeside\b|spoil|\bdoors?\b|\brooms?\b|told otherwise|no other knowledge|\bbe it\b|"
    r"\bwhoever\b|\bshall\b|data set",
    re.IGNORECASE,
)

#: Lines that need one of these words: parts of them, by file.
_ALLOWED = {
    # Names in files that version 0.1.0 wrote, and the names that it had.
    "CHANGELOG.md": ("| `",),
    "ferlib/runs/records.py": ("pictures",),
    # The title of a paper.
    "ferlib/preprocessing/resample.py": ("Borderline-SMOTE: A New",),
    "tests/docs/test_language.py": ("",),
}


def _tracked() -> list[str]:
    """Return the text files of the project that are checked."""
    folders = ("ferlib", "tests", "tools", "benchmarks", "docs", "references", "data", "*.md", "notebooks", "Makefile")
    done = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True)
    suffixes = (".py", ".md", ".ipynb", ".sh", "Makefile")
    return [name for name in done.stdout.splitlines() if name.endswith(suffixes) and (ROOT / name).is_file()]


def test_avoided_words_do_not_occur():
    found = []
    for name in _tracked():
        text = (ROOT / name).read_text(encoding="utf-8")
        if name.endswith(".ipynb"):
            text = "".join("".join(cell["source"]) + "\n" for cell in json.loads(text)["cells"])
        for line in text.splitlines():
            allowed = any(part in line for part in _ALLOWED.get(name, ()))
            if _AVOIDED.search(line) and not allowed:
                found.append(f"{name}: {line.strip()}")
    assert found == []
