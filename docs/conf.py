"""Settings of the book, which `tools/build_book.py` makes with Sphinx from documents, notebooks and docstrings."""

import re
import types
from pathlib import Path
from typing import Any

from ferlib import __version__

project = "ferlib"
author = "The ferlib maintainers"
copyright = f"2026, {author}"
version = release = __version__
language = "en"

extensions = ["myst_nb", "numpydoc", "sphinx.ext.autodoc", "sphinx_copybutton"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}

# Headings have the anchors that Git hosts give them, so that links work in both places.
myst_heading_anchors = 6
# No formulas, for which a page would load MathJax from another host.
myst_enable_extensions: list[str] = []
# The notebooks were executed before.
nb_execution_mode = "off"
nb_merge_streams = True

add_module_names = False
maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
# Without a network there is no index of other packages' names; their types are shown without a link.
nitpick_ignore_regex = [
    ("py:.*", r"(?!ferlib\.).*"),
    # Type variables, and what FastAPI takes out of annotations.
    ("py:class", r"ferlib\..*\.([A-Z]|Builder|Annotated|find_job|_File)"),
]

html_theme = "sphinx_book_theme"
html_title = "ferlib"
html_static_path = [str(Path(__file__).with_name("_static"))]
html_css_files = ["book.css"]
html_copy_source = False
html_favicon = str(Path(__file__).resolve().parent.parent / "ferlib" / "web" / "static" / "icon.svg")
# Summaries are fetched, which browsers do not allow to pages that are files.
html_show_search_summary = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "home_page_in_toc": True,
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
}
# Of a console session, the commands are copied without the prompt and the output.
copybutton_prompt_text = "$ "


def skip_member(_app: Any, _what: str, name: str, obj: object, _skip: bool, _options: Any) -> bool | None:
    """Leave out aliases of types, methods that scikit-learn adds, and values that name folders of this machine."""
    added = name.endswith("_request") or name == "get_metadata_routing"
    items = obj if isinstance(obj, tuple) else (obj,)
    local = any(isinstance(item, types.GenericAlias | types.ModuleType | Path) for item in items)
    return True if added or local else None


def shorten_signature(
    _app: Any, _what: str, _name: str, _obj: object, _options: Any, signature: str | None, annotation: str | None
) -> tuple[str, str | None] | None:
    """Return a signature whose default values can be parsed, where one is a function."""
    if signature is None or "<" not in signature:
        return None
    return re.sub(r"~(?:\w+\.)*", "", re.sub(r"<[^<>]*>", "...", signature)), annotation


def setup(app: Any) -> None:
    """Connect the functions above."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-signature", shorten_signature)
