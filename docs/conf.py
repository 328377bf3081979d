"""The documentation site: `sphinx-build -W -n docs site`. Neither to build it nor to read it takes a network."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from geoseg.version import __version__

project = "geoseg"
author = "The geoseg authors"
copyright = "the geoseg authors, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
# Own, in _ext/: links out of docs/, options from click, formulas as MathML.
extensions += ["repository", "command_options", "mathml"]

source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext", "figures"]
highlight_language = "bash"
nitpicky = True
# Types of other libraries and of the type checker: without a network, there is no inventory to look them up in.
nitpick_ignore_regex = [("py:.*", r"(?!geoseg\.[a-z_]+$).*")]

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4  # the anchors of repository hosts, so that one link works in both
myst_dmath_allow_digits = False
myst_dmath_double_inline = False

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_maximum_signature_line_length = 100

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "geoseg"
html_static_path = ["_static"]
html_css_files = ["geoseg.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {"index": [], "faq": [], "cite": [], "changelog": [], "alternatives": []}
html_theme_options = {
    "logo": {"image_light": "_static/logo.svg", "image_dark": "_static/logo-dark.svg", "alt_text": "geoseg"},
    "header_links_before_dropdown": 5,
    "icon_links": [
        {"name": "Source", "url": "https://github.com/geoseg/geoseg", "icon": "fa-brands fa-github"},
    ],
    "navbar_align": "left",
    "navigation_with_keys": False,
    "show_nav_level": 2,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
copybutton_exclude = ".linenos, .gp, .go"
