"""How `make docs` builds the pages.

Pages that show numbers are scripts, run by sphinx-gallery at each build; `pages/` holds the text
without any. Everything is assembled and written below `_build`.
"""

import os
import sys
import warnings
from pathlib import Path

import softmax

DOCS = Path(__file__).resolve().parent
sys.path[:0] = map(str, (DOCS, DOCS / "extensions", DOCS / "pictures", DOCS.parent))

import drawings

project = "softmax"
author = "the softmax developers"
version = release = softmax.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_design",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "console",
    "drawings",
]
default_role = "py:obj"
templates_path = [str(DOCS / "templates")]
exclude_patterns = ["*/GALLERY_HEADER.rst", "sg_execution_times.rst"]
nitpicky = False
suppress_warnings = ["config.cache"]  # sphinx-gallery's settings hold functions

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says it in words
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

# Not run: what takes a corpus of its own, unless SOFTMAX_DATA names the folder that holds it.
with_corpus = Path(os.environ.get("SOFTMAX_DATA", ""), "20news.jsonl.xz").exists()

sphinx_gallery_conf = {
    "examples_dirs": [str(DOCS / name) for name in ("guide", "migrate", "gallery", "inside")],
    "gallery_dirs": ["guide", "migrate", "gallery", "inside"],
    "filename_pattern": r"\.py$" if with_corpus else r"/(?!plot_word_vectors)\w+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "run_stale_examples": True,  # the package and results/ change where scripts do not
    "capture_repr": ("_repr_html_", "__repr__"),
    "ignore_repr_types": r"matplotlib\.|function",
    "image_srcset": ["2x"],
    "default_thumb_file": drawings.draw_thumbnail(DOCS / "_build" / "thumbnail.png"),
    "backreferences_dir": "backreferences",
    "doc_module": ("softmax",),
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
}
warnings.filterwarnings("ignore", message=".*is non-interactive", category=UserWarning)

html_theme = "pydata_sphinx_theme"
html_title = "softmax"
html_static_path = ["static"]
html_css_files = ["softmax.css"]
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "start")}
html_theme_options = {
    "logo": {"text": "softmax"},
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": True,
}
copyright = "the softmax developers, BSD-3-Clause"


def without_labels_of_others(app, what, name, obj, options, lines):
    """Inherited docstrings refer to pages of scikit-learn."""
    lines[:] = [line.replace(":ref:`accuracy <accuracy_score>`", "accuracy") for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", without_labels_of_others)
