"""The examples in docstrings are correct."""

import doctest
import importlib
from pathlib import Path

import pytest

import ferlib

PACKAGE = Path(ferlib.__file__).parent
#: pytest's --doctest-modules would import every module, Keras included, in every process.
MODULES = [
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if "\n    >>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_give_the_output_shown(module):
    result = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.failed == 0
