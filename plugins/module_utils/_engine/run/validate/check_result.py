# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One line of ``zrb validate-config``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ...errors import EngineError

Status = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Check:
    """The result of one check; ``next_step`` is empty if all is well."""

    name: str
    status: Status
    message: str
    next_step: str = ""

    def as_json(self) -> dict[str, Any]:
        """The check for machines."""
        return {"name": self.name, "status": self.status, "message": self.message, "next_step": self.next_step}


def failed(name: str, error: EngineError) -> Check:
    """The check that ended with ``error``."""
    said = f": {error.answer}" if error.answer else ""
    return Check(name, "error", error.problem + said, error.next_step)
