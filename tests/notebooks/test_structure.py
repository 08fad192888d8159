"""Rules for every notebook, so that it can be read in one sitting and run anywhere."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))

#: Every parameter name of the series.
PARAMETERS = {
    "DATA",
    "DATA_DIR",
    "RUN_DIR",
    "FIGURES_DIR",
    "SAMPLE_SIZE",
    "EPOCHS",
    "MODEL",
    "RESAMPLE",
    "CLASS_WEIGHT",
    "MARGIN",
    "RUN",
    "PHOTOS",
    "SEED",
    "SPLIT",
    "EXPW",
    "VOTES",
    "PHOTO",
    "VIDEO",
    "SMOOTHING",
    "EMOTIONS",
}


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


@pytest.fixture
def code(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.fixture
def prose(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def test_series_is_complete():
    numbers = [path.name[:2] for path in NOTEBOOKS]
    assert numbers[:6] == ["00", "01", "02", "03", "04", "05"]
    assert all(re.fullmatch(r"\d\d_[a-z_]+\.ipynb", path.name) for path in NOTEBOOKS)


def test_first_cell_has_title_question_inputs_and_outputs(prose):
    assert prose[0].startswith("# ")
    assert all(word in prose[0] for word in ("**Question:**", "**In:**", "**Out:**"))


def test_parameters_are_commented_literals_in_one_cell(notebook):
    [cell] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    statements = ast.parse(cell.source).body
    names = {statement.targets[0].id for statement in statements}
    assert names <= PARAMETERS
    # Notebook 03 has two more for class imbalance.
    assert len(statements) <= 12
    assert all(isinstance(statement.value, ast.Constant) for statement in statements)
    assert all("  # " in line for line in cell.source.splitlines())


def test_cells_and_notebook_are_short(code):
    imports, *rest = code
    assert all(isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) for node in ast.parse(imports).body)
    lines = [[line for line in source.splitlines() if line.strip()] for source in rest]
    assert max(map(len, lines)) <= 20
    assert sum(map(len, lines)) <= 240


def test_head_tells_times_and_prerequisites(notebook, code, prose):
    assert all(word in prose[0] for word in ("**Time:**", "**Before:**", "**You need:**"))
    minutes = int(re.search(r"\*\*Time:\*\* (\d+) minutes to read", prose[0])[1])
    # People read about 180 words or eight lines of code in a minute.
    words = len(re.sub(r"<details>.*?</details>", "", " ".join(prose), flags=re.DOTALL).split())
    lines = sum(len([line for line in source.splitlines() if line.strip()]) for source in code)
    assert minutes == pytest.approx(words / 180 + lines / 8, rel=0.25)
    assert words >= 40 * len(code)


def test_three_exercises_have_solutions(prose):
    [exercises] = [text for text in prose if text.startswith("## Exercises")]
    questions, solutions = exercises.split("<details>")
    assert re.findall(r"^(\d)\. ", questions, re.MULTILINE) == ["1", "2", "3"]
    blocks = re.findall(r"^```python\n(.*?)^```$", solutions, re.MULTILINE | re.DOTALL)
    assert [block[:4] for block in blocks] == ["# 1.", "# 2.", "# 3."]
    for block in blocks:
        compile(block, "solution", "exec")


def test_terms_are_in_the_glossary(prose):
    glossary = (FOLDER.parent / "docs" / "glossary.md").read_text(encoding="utf-8").casefold()
    text = re.sub(r"<details>.*", "", " ".join(prose), flags=re.DOTALL)
    terms = re.findall(r"\*\*([A-Za-z][a-zA-Z -]{2,30})\*\*", text)
    known = {"question", "in", "out", "time", "before", "you need"}
    sentences = {"The wrong way", "What it", "What differs", "What we do", "Identical across", "Meant for", "Not for"}
    missing = [
        term
        for term in terms
        if term.casefold().removesuffix("s") not in glossary
        and term.casefold() not in known
        and not any(term.startswith(sentence) for sentence in sentences)
    ]
    assert not missing


def test_sections_are_numbered(prose):
    numbers = [int(number) for number in re.findall(r"^## (\d+)\. ", "\n".join(prose), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 3


def test_every_figure_is_followed_by_text(notebook):
    for cell, after in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code" and re.search(r"plots\.plot_|plt\.subplots", cell.source):
            # A sentence that depends on the data is printed.
            assert after.cell_type == "markdown" or "print(" in after.source or "DataFrame" in after.source


def test_no_classes_or_long_functions(code):
    tree = ast.parse("\n".join(code))
    nodes = list(ast.walk(tree))
    assert not [node for node in nodes if isinstance(node, ast.ClassDef)]
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    assert all(node.end_lineno - node.lineno < 8 for node in functions)


@pytest.mark.parametrize("habit", [r"sys\.path", r"^\s*[!%]", r"filterwarnings", r"""["'](/|[A-Z]:\\)""", r"/255"])
def test_bad_habits_are_absent(code, habit):
    assert not [source for source in code if re.search(habit, source, re.MULTILINE)]


def test_sources_are_committed_without_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]


def test_last_cells_have_conclusions_outputs_and_references(code, prose):
    assert "## What we learned" in "\n".join(prose)
    assert prose[-1].startswith("## References")
    assert "wrote" in code[-1]


def test_cells_that_show_dataset_images_are_tagged(notebook):
    for cell in notebook.cells:
        plot = r"plot_(faces|maps|predictions|heatmaps|map_rows)\("
        if re.search(plot + r"(dataset|test|train|val|blended|images|average_maps\(images)", cell.source):
            assert "images" in cell.metadata.get("tags", [])


def test_references_are_in_the_bibliography(prose):
    known = (FOLDER.parent / "references" / "references.bib").read_text(encoding="utf-8").casefold()
    known = re.sub(r"[{}]", "", known)
    titles = re.findall(r"\*([A-Z][^*]{11,})\*", prose[-1].replace("\n  ", " "))
    missing = [title for title in titles if title.split(":")[0].casefold() not in known]
    assert not missing
