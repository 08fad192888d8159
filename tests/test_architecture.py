"""Imports flow one way, and heavy packages are imported only where they are needed."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ferlib
from ferlib.__main__ import COMMANDS

PACKAGE = Path(ferlib.__file__).parent
CONTRIBUTING = PACKAGE.parent / "CONTRIBUTING.md"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
COMMAND_MODULES = {"ferlib.__main__"} | {module for module, _ in COMMANDS.values()}

HEAVY = {"tensorflow", "keras", "mtcnn", "kaggle", "torch", "jax"}
FRAMEWORKS = HEAVY - {"mtcnn", "kaggle"}


def read_layers() -> list[set[str]]:
    """Return the packages of each layer, lowest first, from the table in CONTRIBUTING.md."""
    table = CONTRIBUTING.read_text(encoding="utf-8").split("<!-- layers -->")[1].split("<!-- end of layers -->")[0]
    rows = [line.split("|")[2] for line in table.strip().splitlines()[2:]]
    return [{name.strip("` ") for name in row.split(",")} for row in rows]


LAYERS = read_layers()
LEVEL = {package: level for level, packages in enumerate(LAYERS) for package in packages}


def find_imports(module: str, *, lazy: bool) -> set[str]:
    """Return the full names that a module imports; without `lazy` only those at module level."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    nodes = ast.walk(tree) if lazy else _nodes_at_import(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            # `from ferlib.core import images` names a module; `from ferlib.core.images import crop` does not name two.
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


def package_of(module: str) -> str:
    """Return the package that a module belongs to; "" for ferlib itself."""
    return module.split(".")[1] if "." in module else ""


def test_the_root_holds_only_commands():
    assert {f"ferlib.{path.stem}" for path in PACKAGE.glob("*.py")} - {"ferlib.__init__"} <= COMMAND_MODULES
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(LEVEL) | {"assets"}


def test_imports_flow_one_way():
    upward = []
    for module in set(MODULES) - {"ferlib"}:
        if module in COMMAND_MODULES:
            continue
        package = package_of(module)
        imported = {package_of(name) for name in find_imports(module, lazy=True) if name.split(".")[0] == "ferlib"}
        upward += [
            f"{module} imports {other}"
            for other in imported - {package, ""}
            if other not in LEVEL or LEVEL[other] >= LEVEL[package]
        ]
    assert not upward


def test_no_import_cycles():
    graph = {module: find_imports(module, lazy=True) & set(MODULES) - {"ferlib"} for module in MODULES}
    assert len(list(graphlib.TopologicalSorter(graph).static_order())) == len(MODULES)


def test_heavy_packages_are_imported_in_functions():
    heavy = {
        (module, name) for module in MODULES for name in find_imports(module, lazy=False) if name.split(".")[0] in HEAVY
    }
    # Subclasses of Keras's classes cannot wait; these modules are imported only to train or export.
    assert {name for _, name in heavy} == {"keras"}
    assert {package_of(module) for module, _ in heavy} <= {"training", "export"}


def test_models_and_training_use_keras_but_no_backend():
    packages = ("models", "training", "preprocessing", "evaluation")
    used = {
        (module, name.split(".")[0])
        for module in MODULES
        if package_of(module) in packages
        for name in find_imports(module, lazy=True)
    }
    # One module replaces operations of TensorFlow; the other needs gradients, which Keras does not offer.
    allowed = {"ferlib.training.tensorflow_layers", "ferlib.evaluation.explain"}
    assert {module for module, name in used if name in FRAMEWORKS - {"keras"}} == allowed


def test_onnx_runtime_is_imported_without_telemetry():
    importers = {
        module
        for module in MODULES
        for name in find_imports(module, lazy=True)
        if name.split(".")[0] == "onnxruntime" and not name.startswith("onnxruntime.quantization")
    }
    assert importers == {"ferlib.core.backend"}


@pytest.mark.parametrize("module", ["ferlib", *sorted(COMMAND_MODULES)])
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
                writers.add(module)
    assert all(module in COMMAND_MODULES or module == "ferlib.core.console" for module in writers)
