"""Sphinx's settings for the web book; `make site` assembles its pages in build/book/source (see tools/book)."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import xai_lessons  # noqa: E402
from tools.book import repository  # noqa: E402

project = "xai-lessons"
author = copyright = "xai-lessons contributors"
version = release = xai_lessons.__version__
html_title = "xai-lessons"
html_theme = "sphinx_book_theme"
html_static_path = ["static", str(ROOT / "build" / "book" / "static")]
html_css_files = ["book.css"]
html_js_files = ["player.js"]
html_copy_source = html_show_sourcelink = False
html_context = {"default_mode": "auto"}  # light or dark, as the reader's system is
html_theme_options = {
    "repository_url": repository(),
    "repository_branch": "HEAD",
    "path_to_docs": "",
    "use_repository_button": True,
    "use_download_button": False,
    "launch_buttons": {"binderhub_url": "https://mybinder.org", "notebook_interface": "jupyterlab"},
    "show_toc_level": 2,
    "home_page_in_toc": True,
}
extensions = ["myst_nb", "sphinx.ext.mathjax", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
mathjax_path = "mathjax/tex-mml-chtml.js"  # from the site itself
nb_execution_mode = "off"  # the stored outputs are what is shown
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 4
default_role = "py:obj"  # `name` in a docstring links to what it names, if that has a page
autodoc_typehints = "none"  # signatures show them; the Args say what they mean
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True  # or each attribute of a dataclass is described twice
pygments_style = "default"
suppress_warnings = ["mystnb.unknown_mime_type", "myst.header", "ref.python"]


def norms(app, what, name, thing, options, lines):
    """A bar in a docstring is that of a norm, |x|, not of one of Sphinx's substitutions."""
    literal = False  # within a formula or an example
    for number, line in enumerate(lines):
        literal = bool(line) and (literal or line.lstrip().startswith((".. math::", ">>>")))
        if not literal:
            lines[number] = re.sub(r"(``.*?``)|\|", lambda found: found[1] or r"\|", line)


def setup(app):
    """Sphinx calls this."""
    app.connect("autodoc-process-docstring", norms, priority=900)
