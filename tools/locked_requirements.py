"""Print categories of Pipfile.lock as pip's requirements: ``python tools/locked_requirements.py predict serve``.

Each package has its version and hashes, for ``pip install --no-deps --require-hashes``. Of the two builds of OpenCV,
the one without windows is printed if the category ``headless`` is named.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

# It may be copied next to the lock.
_PLACES = (Path(__file__).with_name("Pipfile.lock"), Path(__file__).parents[1] / "Pipfile.lock")


def requirements(categories: Sequence[str]) -> str:
    """Return the packages of categories, one per line."""
    path = next(path for path in _PLACES if path.exists())
    lock = json.loads(path.read_text(encoding="utf-8"))
    packages = {name: entry for category in categories for name, entry in lock[category].items()}
    if "opencv-python-headless" in packages:
        packages.pop("opencv-python", None)
    lines = []
    for name, entry in sorted(packages.items()):
        marker = f" ; {entry['markers']}" if "markers" in entry else ""
        hashes = "".join(f" \\\n    --hash={value}" for value in entry["hashes"])
        lines.append(f"{name}{entry['version']}{marker}{hashes}\n")
    return "".join(lines)


if __name__ == "__main__":
    print(requirements(sys.argv[1:]), end="")
