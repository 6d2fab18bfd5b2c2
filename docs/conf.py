"""
Configuration of the documentation's build.

    sphinx-build -W -n docs docs/_build/html

Needs the extra ``docs`` of setup.py, and no network. What is generated comes from the checkout that this file lies in.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "_ext")]

from mpp._version import __version__  # noqa: E402

project = "mpp"
author = "the mpp maintainers"
copyright = author
version = release = __version__

extensions = ["mpp_options", "mpp_metrics"]
exclude_patterns = ["_build", "_include", "man.rst"]
# "--retries" has to stay two hyphens, also outside of literals.
smartquotes = False
nitpicky = True
highlight_language = "none"

html_theme = "alabaster"
html_theme_options = {
    "description": "One address for a pair of Prometheus servers",
    "fixed_sidebar": True,
    "page_width": "1100px",
    "sidebar_width": "260px",
}
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html"]}
html_show_sourcelink = False
html_copy_source = False

# For script/build-man, which builds man.rst alone.
man_pages = [("man", "mpp", "one address for a pair of Prometheus servers", "", "1")]
