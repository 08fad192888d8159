"""Detectors of other packages or of one's own, by the name of their class."""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any

from ferlib.core.errors import FerlibError
from ferlib.faces.base import Detector


def load_detector(spec: str, **options: Any) -> Detector:
    """Create a detector of a class that is named ``package.module:Class``.

    Parameters
    ----------
    spec : str
        The module is looked for where Python looks, and then in the current folder.
    **options
        Arguments of the class; those that it does not take are left out.

    Raises
    ------
    FerlibError
        The module or the class does not exist, needs other arguments, or creates something without a method `detect`.
    """
    module_name, _, class_name = spec.partition(":")
    module = _import(module_name, spec)
    factory = getattr(module, class_name, None)
    if not callable(factory):
        raise FerlibError(f"--detector {spec}: the module {module_name} has no class '{class_name}'.")
    try:
        taken = inspect.signature(factory).parameters
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values())
        detector = factory(**{name: value for name, value in options.items() if takes_all or name in taken})
    except (TypeError, ValueError) as error:
        raise FerlibError(f"--detector {spec}: the class cannot be used ({error}).") from error
    if not callable(getattr(detector, "detect", None)):
        raise FerlibError(f"--detector {spec}: the class has no method 'detect'; see ferlib.faces.Detector.")
    return detector


def _import(name: str, spec: str) -> Any:
    """Import a module, also from the current folder."""
    folder = str(Path.cwd())
    added = folder not in sys.path
    if added:
        sys.path.append(folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):
            raise FerlibError(f"--detector {spec}: the module needs {error.name}, which is not installed.") from error
        raise FerlibError(f"--detector {spec}: there is no module '{name}'.") from None
    finally:
        if added:
            sys.path.remove(folder)
