# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How Sphinx makes the site: see ``build``. A page that is in no group of PAGES fails it."""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx

PAGES = {
    "Back up and restore": (
        "docs/first-backup",
        "docs/fleet",
        "docs/awx",
        "docs/restore-a-nas-from-nothing",
        "docs/restore-by-hand",
        "docs/retention",
        "docs/costs",
    ),
    "Reference": (
        "docs/configuration",
        "docs/servers",
        "docs/cli",
        "docs/jobs",
        "reference/zrb",
        "reference/modules",
        "roles/runtime/README",
        "roles/config/README",
        "roles/permissions/README",
        "roles/schedule/README",
        "roles/logrotate/README",
        "roles/lifecycle/README",
        "docs/format",
    ),
    "Why it can be trusted": (
        "docs/threat-model",
        "docs/reliability",
        "docs/performance",
        "docs/architecture",
    ),
    "Work on it": (
        "CONTRIBUTING",
        "CODE_OF_CONDUCT",
        "tests/vm/README",
    ),
}

smartquotes = False
project = "zrb.fleet"
copyright = "zrb.fleet contributors"  # noqa: A001 - Sphinx wants this name
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "tests/vm/README.md", "roles/*/README.md"),
    "docs/*.md",
    "reference/**",
]
myst_enable_extensions = ["attrs_inline", "deflist"]
myst_heading_anchors = 4
pygments_style = "friendly"
pygments_dark_style = "monokai"
html_theme = "furo"
html_title = "zrb.fleet"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_use_index = False
html_show_sphinx = False


def add_navigation(app: Sphinx, page: str, content: list[str]) -> None:
    """Append what the side bar shows to the first page, which as a file of the checkout needs none of it."""
    if page != root_doc:
        return
    for caption, pages in PAGES.items():
        lines = [entry for entry in pages if (Path(app.srcdir) / f"{entry}.md").exists()]
        content[0] += "\n".join(["", "", "```{toctree}", ":hidden:", f":caption: {caption}", "", *lines, "```"])


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
