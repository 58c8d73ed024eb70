# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb validate-config``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_command
from .output import put
from .session import Session

if TYPE_CHECKING:
    from ..run.validate import Check

_EXAMPLE = """\
  zrb validate-config
  zrb validate-config --offline           check only keys, directories and ZFS"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "validate-config",
        run,
        summary="check configuration, keys, ZFS and repository; print one line per check, with the next step",
        example=_EXAMPLE,
        dry_run=False,
    )
    parser.add_argument("--offline", action="store_true", help="do not access the repository")


def run(session: Session) -> int:
    """Run the command."""
    from ..run.validate import exit_code, validate_config

    with session.open_context(writes=True) as context:
        checks = validate_config(context, offline=session.args.offline, config_path=Path(session.args.config))
    code = exit_code(checks)
    session.give({"exit_code": code, "checks": [check.as_json() for check in checks]}, lambda: _show(checks))
    return code


def _show(checks: list[Check]) -> None:
    from .tables import printable

    width = max(len(check.name) for check in checks)
    for check in checks:
        step = f" -> {check.next_step}" if check.next_step else ""
        put(printable(f"{check.status:<8}{check.name:<{width}}  {check.message}{step}"))
