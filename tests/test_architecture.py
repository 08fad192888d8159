"""The package's parts lean on each other in one direction, and heavy packages wait until they are needed."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ferlib

PACKAGE = Path(ferlib.__file__).parent
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

# What each part may import, beside itself and the bare package (its version).
BASE = {"errors", "emotions", "images", "files", "probabilities", "progress", "quiet"}
MAY_IMPORT = {
    **dict.fromkeys(BASE, BASE),
    "artifacts": BASE,
    "formats": BASE | {"artifacts"},
    "sources": BASE,
    "datasets": BASE | {"sources"},
    "prepare": BASE | {"sources", "datasets"},
    "words": BASE,
    "models": BASE | {"sources", "datasets", "prepare", "words"},
    "evaluation": BASE,
    "training": BASE | {"artifacts", "sources", "datasets", "prepare", "models", "evaluation"},
    "faces": BASE - {"emotions"},
    "inference": BASE | {"artifacts", "faces"},
    "commands": BASE,
}
DOORS = {"download", "train", "evaluate", "export", "predict", "results", "series"}

HEAVY = {"tensorflow", "keras", "mtcnn", "kaggle", "torch", "jax"}
FRAMEWORKS = HEAVY - {"mtcnn", "kaggle"}


def find_imports(module: str, *, lazy: bool) -> set[str]:
    """Return the full names that a module imports; without `lazy` those of its own level alone."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if lazy else _nodes_at_import(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            # `from ferlib import images` names a module; `from ferlib.images import crop` does not name two.
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            names |= submodules or {node.module}
    return names


def _nodes_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING":
            continue
        yield child
        yield from _nodes_at_import(child)


def part_of(module: str) -> str:
    """Return the room, or the file of the top level, that a module belongs to; "" for the bare package."""
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"ferlib"}))
def test_imports_flow_one_way(module):
    part = part_of(module)
    assert part in MAY_IMPORT or part in DOORS, f"say above where {part} stands, and design it so"
    allowed = MAY_IMPORT.get(part, set(MAY_IMPORT)) | {part, ""}
    used = {part_of(name) for name in find_imports(module, lazy=True) if name.split(".")[0] == "ferlib"}
    assert used <= allowed, f"{module} imports {sorted(used - allowed)}"


def test_no_module_waits_for_itself():
    graph = {module: find_imports(module, lazy=False) & set(MODULES) for module in MODULES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


def test_heavy_packages_are_imported_in_functions():
    heavy = {
        (module, name) for module in MODULES for name in find_imports(module, lazy=False) if name.split(".")[0] in HEAVY
    }
    # Subclasses of Keras's classes cannot wait; whoever imports these modules is about to train.
    assert heavy == {
        (f"ferlib.training.{name}", "keras") for name in ("batches", "export", "fused", "network", "recorder")
    }


def test_models_and_training_know_keras_but_no_backend():
    rooms = ("models", "training", "prepare", "evaluation")
    used = {
        (module, name.split(".")[0])
        for module in MODULES
        if part_of(module) in rooms
        for name in find_imports(module, lazy=True)
    }
    # One module exchanges an operation for a faster one, on TensorFlow alone.
    assert {module for module, name in used if name in FRAMEWORKS - {"keras"}} == {"ferlib.training.fused"}


@pytest.mark.parametrize("module", ["ferlib", *(f"ferlib.{door}" for door in sorted(DOORS))])
def test_a_fresh_interpreter_loads_nothing_heavy(module):
    code = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert done.stderr == ""


def test_only_commands_write_to_standard_output():
    writers = set()
    for module, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "pprint", "sys.stdout.write"):
                writers.add(part_of(module))
    assert writers <= DOORS
