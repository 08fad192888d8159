"""Build the book: executed notebooks, documents, data cards, model cards and the API as one website.

Its start page is ``html/index.html`` in the output folder. The executed copies of the notebooks are those of
reports/series; a notebook that has none there is executed at demonstration size on drawn faces.
"""

import argparse
import ast
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import run_notebooks

from ferlib.core.console import EXIT_OK, run, write_line
from ferlib.core.errors import FerlibError
from ferlib.data.locate import default_data_dir, synthetic_sample
from ferlib.web.page import write_page

ROOT = Path(__file__).resolve().parent.parent

#: The documents besides README.md, which is the start page.
DOCUMENTS = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "docs/*.md",
    "ferlib/assets/*/*.md",
    "references/*.md",
    "reports/README.md",
)

_TRY = """# Try it here

<a href="page/index.html">Open the page.</a> It recognizes emotions in photographs, videos and the camera. The networks
run in your browser, and no image leaves the computer. [Page in the browser](docs/page.md) has more about it.

A browser does not run the page from a file. If this book lies on your computer, start a web server first:

```sh
python -m http.server --directory build/book/html
```

![The page with a photograph, a box around the face, and the probabilities of seven emotions](docs/images/page.jpg)
"""

_API = """The functions and classes with their parameters, from the docstrings. For prediction,
[EmotionRecognizer](ferlib.inference.recognizer.rst) is enough. [Architecture](../docs/architecture.md) has the layers.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of ``python tools/build_book.py``."""
    parser = argparse.ArgumentParser(
        prog="python tools/build_book.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/book"), metavar="DIR", help="folder to write (default: build/book)"
    )
    parser.add_argument(
        "--series",
        type=Path,
        default=ROOT / "reports" / "series",
        metavar="DIR",
        help="executed copies of the notebooks (default: reports/series)",
    )
    parser.add_argument(
        "--parameter",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="set a parameter of the notebooks that have no executed copy",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Build the book and return the exit status."""
    arguments = build_parser().parse_args(argv)
    output = arguments.output.resolve()
    source, pages = output / "source", output / "html"
    executed = execute_missing(arguments.series, output / "executed", arguments.parameter)
    for folder in (source, pages):
        shutil.rmtree(folder, ignore_errors=True)
    collect_sources(source, executed)
    build_pages(source, pages, output / "doctrees")
    write_page(None, pages / "page")
    size = sum(path.stat().st_size for path in pages.rglob("*") if path.is_file())
    write_line(f"the book, {size / 1e6:.1f} MB: {pages / 'index.html'}")
    return EXIT_OK


def execute_missing(series: Path, output: Path, parameters: Sequence[tuple[str, str]] = ()) -> dict[str, Path]:
    """Return the executed copy of each notebook by its name; notebooks without one in `series` are executed."""
    notebooks = run_notebooks.find_notebooks(ROOT / "notebooks")
    executed = {path.name: series / path.name for path in notebooks}
    missing = [path for path in notebooks if not executed[path.name].exists()]
    published = output / "published"
    for path in missing:
        executed[path.name] = published / "series" / path.name
    outdated = [path.name[:2] for path in missing if not _is_newer(executed[path.name], path)]
    if outdated:
        options = [word for name, value in parameters for word in ("--parameter", name, value)]
        data = synthetic_sample(default_data_dir())
        folders = ["--output", str(output), "--reports", str(published)]
        run_notebooks.main(["--data", str(data), *folders, "--notebooks", *outdated, *options])
    return executed


def _is_newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime > other.stat().st_mtime


def collect_sources(source: Path, executed: dict[str, Path]) -> None:
    """Write everything that the book is made from to the folder `source`, in the places of the repository."""
    documents = [path for pattern in DOCUMENTS for path in sorted(ROOT.glob(pattern))]
    for path in [*documents, *_linked_files([ROOT / "README.md", *documents])]:
        _copy(path, source / path.relative_to(ROOT))
    for name, copy in executed.items():
        write_notebook(ROOT / "notebooks" / name, copy, source / "notebooks" / name)
    packages = list_packages(ROOT / "ferlib")
    for name, modules in packages.items():
        write_package(name, modules, source / "api")
    _write(source / "api" / "index.md", _api_index(packages))
    _write(source / "try.md", _TRY)
    # The book's notebooks are the executed ones.
    readme = re.sub(r" \(\[executed\]\([^)]*\)\)", "", (ROOT / "README.md").read_text(encoding="utf-8"))
    _write(source / "index.md", readme + contents(source))


def _linked_files(documents: Sequence[Path]) -> set[Path]:
    """Return the files that documents show or link to, such as figures and tables, but no documents or notebooks."""
    links = {
        (path.parent / target).resolve()
        for path in documents
        for target in re.findall(r"\]\(([^)\s#]+)\)", path.read_text(encoding="utf-8"))
        if "://" not in target
    }
    return {path for path in links if path.is_file() and path.suffix not in (".md", ".ipynb")}


def write_notebook(notebook: Path, executed: Path, target: Path) -> None:
    """Write a notebook with the outputs that the cells with the same code have in its executed copy."""
    import nbformat

    document = nbformat.read(notebook, as_version=4)
    outputs: dict[str, list[Any]] = {}
    for cell in nbformat.read(executed, as_version=4).cells:
        if cell.cell_type == "code":
            outputs.setdefault(cell.source, []).append(cell.outputs)
    changed = 0
    for cell in document.cells:
        if cell.cell_type == "code":
            found = outputs.get(cell.source)
            changed += not found
            cell.outputs = found.pop(0) if found else []
    if changed:
        write_line(f"{notebook.name}: {changed} cells have changed since {executed} was executed")
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(document, target)


def contents(source: Path) -> str:
    """Return the hidden tables of contents of the start page, which the sidebar shows."""
    parts = {
        "": ["try"],
        "Notebooks": [*_names(source, "notebooks/*.ipynb"), "docs/glossary"],
        "Documentation": [name for name in _linked(source / "docs" / "index.md") if name != "docs/glossary"],
        "Data and models": [
            *_linked(source / "references" / "README.md"),
            "Folder for data <data/README>",
            "Model card: default <ferlib/assets/default/model_card>",
            "Model card: fast <ferlib/assets/fast/model_card>",
            "ferlib/assets/face_resnet/README",
            "ferlib/assets/face_embedding/README",
        ],
        "Python API": ["api/index"],
        "Project": ["reports/README", "CHANGELOG", "CONTRIBUTING"],
    }
    return "".join(_toctree(caption, names) for caption, names in parts.items())


def _names(source: Path, pattern: str) -> list[str]:
    return [path.relative_to(source).with_suffix("").as_posix() for path in sorted(source.glob(pattern))]


def _linked(page: Path) -> list[str]:
    """Return a page and the pages of its folder that it links, in their order."""
    names = dict.fromkeys(re.findall(r"\]\(([\w-]+)\.md\)", page.read_text(encoding="utf-8")))
    return [f"Overview <{page.parent.name}/{page.stem}>", *(f"{page.parent.name}/{name}" for name in names)]


def _toctree(caption: str, names: Sequence[str]) -> str:
    lines = [":hidden:", *([f":caption: {caption}"] if caption else []), "", *names]
    return "\n".join(["", "```{toctree}", *lines, "```", ""])


def list_packages(package: Path) -> dict[str, list[str]]:
    """Return the names of a package and of the packages in it, each with those of its public modules."""
    packages: dict[str, list[str]] = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
        if path.name == "__init__.py":
            packages[name.removesuffix(".__init__")] = []
    for path in sorted(package.rglob("*.py")):
        *folder, name = path.relative_to(package.parent).with_suffix("").parts
        if not name.startswith("_"):
            packages[".".join(folder)].append(".".join([*folder, name]))
    return packages


def write_package(name: str, modules: Sequence[str], folder: Path) -> None:
    """Write the page of a package and those of its modules, in reStructuredText."""
    for module in modules:
        _write(folder / f"{module}.rst", _automodule(module))
    text = _automodule(name)
    exported = _exported(_source_of(name))
    if exported:
        links = "\n".join(f"* :py:obj:`{public} <{target}>`" for public, target in exported)
        text += f"\nImport from ``{name}``:\n\n{links}\n"
    entries = "\n".join(f"   {module.rpartition('.')[2]} <{module}>" for module in modules)
    _write(folder / f"{name}.rst", f"{text}\n.. toctree::\n   :maxdepth: 1\n   :caption: Modules\n\n{entries}\n")


def _automodule(name: str) -> str:
    return f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n   :ignore-module-all:\n"


def _source_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exported(source: Path) -> list[tuple[str, str]]:
    """Return the functions and classes that a package takes from its modules: public name and full name."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    origins = {
        alias.name: str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    lists = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    names = [name for node in lists for name in ast.literal_eval(node.value) if name in origins]
    return [(name, f"{origins[name]}.{name}") for name in sorted(names) if _is_defined(name, _source_of(origins[name]))]


def _is_defined(name: str, source: Path) -> bool:
    """Return whether a module defines a class or a function, rather than a constant."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return any(isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name for node in tree.body)


def _api_index(packages: dict[str, list[str]]) -> str:
    """Return the page that lists the packages with the first sentence of each."""
    rows = []
    for name in packages:
        documentation = ast.get_docstring(ast.parse(_source_of(name).read_text(encoding="utf-8"))) or ""
        rows.append(f"| [{name}]({name}.rst) | {documentation.splitlines()[0]} |")
    table = "\n".join(["| package | content |", "| --- | --- |", *rows])
    return f"# Packages and modules\n\n{_API}\n{table}\n{_toctree('Packages', list(packages))}"


def build_pages(source: Path, pages: Path, cache: Path) -> None:
    """Build the pages with Sphinx; a warning is an error."""
    from sphinx.cmd.build import main as sphinx

    options = ["-W", "-n", "--keep-going", "-q", "-j", "2", "-c", ROOT / "docs", "-d", cache]
    if sphinx([*map(str, options), str(source), str(pages)]):
        raise FerlibError("Sphinx could not build the book: correct what the warnings above name.")


def _copy(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    run(main)
