"""Builds the documentation: ``make docs``. A warning or a broken link inside it is an error."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path
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
source_suffix = {".md": "myst-nb", ".rst": "restructuredtext"}

# Headings have the same anchors as elsewhere, so that links work in both places.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4

# Tutorials and figures run in each build; a cell that fails is an error.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ.setdefault("PYTHONWARNINGS", "ignore")
# Cells of shell run the `henaw` that is installed beside this Python.
os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
napoleon_custom_sections = ["Shape", "Source", ("Returns of ``forward``, in this order", "notes")]
napoleon_use_ivar = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_title = f"HENAW {release}"
html_copy_source = False
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def read_plainly(
    _app: Any, what: str, _name: str, _obj: Any, _options: Any, lines: list[str]
) -> None:
    """Keep |z| an absolute value, and a drawn tree and a module's example as they are."""
    if any("\u251c" in line for line in lines):
        lines[:] = [lines[0], "", "::", "", *(f"    {line}" for line in lines[1:]), ""]
        return
    text = "\n".join(lines).replace("|", "\\|")
    if what == "module":
        text = re.sub(r"(?<=[^:]\n\n)(?=    \S)", "::\n\n", text, count=1)
    lines[:] = text.split("\n")


def drop_outside_links(app: Sphinx, name: str, source: list[str]) -> None:
    """Keep only the text of links to files that are in the repository but not on the site."""
    folder = Path(app.srcdir, name).parent

    def replace(link: re.Match[str]) -> str:
        path = (folder / link[2]).resolve()
        return link[0] if path.is_relative_to(app.srcdir) else link[1]

    source[0] = re.sub(r"\[([^\]]+)\]\((\.\.?/[^)#]+)[^)]*\)", replace, source[0])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", drop_outside_links)
    app.connect("autodoc-process-docstring", read_plainly)
