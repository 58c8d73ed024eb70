# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prints failures of single objects on stderr."""

from __future__ import annotations

from typing import Any

from ..errors import EngineError
from .session import say


def show_failures(failures: list[dict[str, Any]]) -> None:
    """Print one line per failure. Each has the ``facts()`` of an error, and may name a ``dataset``."""
    from ..report.logs import redact

    for failure in failures:
        explained = EngineError(
            failure["problem"],
            next_step=failure["next_step"],
            answer=failure["answer"],
        ).explain()
        about = f"{failure['dataset']}: " if failure.get("dataset") else ""
        say(f"{about}{redact(explained)}")
