"""Settings of the documentation; build it with ``sphinx-build -W docs docs/_build``."""

import doctest
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import api_reference  # noqa: E402

project = "skmtl"
author = "skmtl developers"
copyright = "2026, skmtl developers"
release = installed_version("skmtl")
version = ".".join(release.split(".")[:2])

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
default_role = "literal"
suppress_warnings = [
    # numpydoc turns References into citations, and a docstring may list one without
    # a mark in the text.
    "ref.citation",
    "ref.footnote",
]

# The reference pages are made from __all__ before sphinx looks for sources.
api_reference.write(HERE)
autosummary_generate = False
autodoc_typehints = "none"  # shapes and meanings are in the docstrings
numpydoc_show_class_members = False  # the pages list the members themselves

# Pages are tested through ``.. doctest::``; pytest tests the docstrings.
doctest_test_doctest_blocks = ""
doctest_default_flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
doctest_global_setup = """
import warnings
warnings.simplefilter("error")
"""

sphinx_gallery_conf = {
    "examples_dirs": str(HERE.parent / "examples"),
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"[/\\]plot_",
    "ignore_pattern": r"__init__|benchmarks",
    "abort_on_example_error": True,
    "min_reported_time": 60,
    "plot_gallery": True,
    "remove_config_comments": True,
    "show_signature": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skmtl"
html_theme_options = {"show_prev_next": False}
