# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fail where a page would load something over the network. Usage: ``offline.py SITE``. Links may lead there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

LOADED = re.compile(
    r"""<(?:script|img|iframe|source|embed)\b[^>]*?\bsrc=["']?(?P<src>(?:https?:)?//[^\s"'>]+)
    |<link\b(?![^>]*\brel=["']?canonical)[^>]*?\bhref=["']?(?P<href>(?:https?:)?//[^\s"'>]+)
    |(?:\burl\(|@import\s+)["']?(?P<css>(?:https?:)?//[^\s"')]+)""",
    re.VERBOSE,
)


def loaded_from_elsewhere(site: Path) -> list[str]:
    """``PAGE: ADDRESS`` for everything that a browser would fetch from another machine."""
    return [
        f"{page.relative_to(site)}: {match['src'] or match['href'] or match['css']}"
        for page in sorted(site.rglob("*"))
        if page.suffix in {".html", ".css"}
        for match in LOADED.finditer(page.read_text(encoding="utf-8"))
    ]


if __name__ == "__main__":
    found = loaded_from_elsewhere(Path(sys.argv[1]))
    print("\n".join(found))
    sys.exit(f"{len(found)} loads over the network" if found else 0)
