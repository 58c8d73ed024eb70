# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tell which tests were skipped and why, for the summary. Usage: ``skipped.py RESULTS.xml...``.

With ``CI`` in the environment, a skipped test is a failure: what cannot run there must not pass silently. Only what
a ZFS cannot do (its reason begins with "this ZFS") is none, since `make test-openzfs` runs those on another.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree


def skip_reasons(results: list[Path]) -> Counter[str]:
    """How many tests were skipped for each reason, out of JUnit files. One that failed as expected was not skipped."""
    skipped = [element for file in results for element in ElementTree.parse(file).iter("skipped")]
    return Counter(
        element.get("message", "no reason given") for element in skipped if element.get("type") != "pytest.xfail"
    )


def main(results: list[Path]) -> int:
    """Write ``skipped.txt`` beside the results."""
    if not all(file.exists() for file in results):
        print("The tests left no results", file=sys.stderr)
        return 1
    reasons = skip_reasons(results)
    lines = [f"skipped {count:4d} tests: {reason}\n" for reason, count in sorted(reasons.items())]
    results[0].with_name("skipped.txt").write_text("".join(lines))
    print("".join(lines) or "No test was skipped")
    lacking = [reason for reason in reasons if not reason.startswith("this ZFS")]
    return 1 if lacking and os.environ.get("CI") else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
