"""Builds the documentation: ``make docs``. A warning or a broken link inside it is an error."""

from __future__ import annotations

import importlib.metadata
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "HENAW"
author = "HENAW's authors"
release = importlib.metadata.version("henaw")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}

# Markdown as the repository's other readers take it, with anchors of headings.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# Tutorials run while the site is built, and a cell that fails ends the build.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ.setdefault("PYTHONWARNINGS", "ignore")

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "description"
napoleon_custom_sections = ["Shape", "Source", ("Returns of ``forward``, in this order", "notes")]
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"HENAW {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def read_plainly(
    _app: Any, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Take |z| for an absolute value and a drawn tree for a drawing, not for markup."""
    if any("\u251c" in line for line in lines):
        lines[:] = [lines[0], "", "::", "", *(f"    {line}" for line in lines[1:]), ""]
    else:
        lines[:] = [line.replace("|", "\\|") for line in lines]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", read_plainly)
