# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell what the pages would load over the network, and fail if there is anything. Usage: ``offline.py SITE``.

Links may lead anywhere: nobody follows them but the reader.
"""

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
    for load in found:
        print(load)
    sys.exit(1 if found else 0)
