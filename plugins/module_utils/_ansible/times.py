# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ages and moments, as options give them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from .._engine.errors import UsageError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]{1,6}) ?([smhdw])")


def parse_age(text: str, *, option: str) -> timedelta:
    """``20h`` or ``1d``. Raises ``UsageError``, which names ``option``."""
    match = _AGE.fullmatch(text)
    if match is None:
        raise UsageError(
            f"The option {option} cannot be {text!r}",
            subject=option,
            next_step="Give a number and a unit: s, m, h, d or w, such as 20h",
        )
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def parse_moment(text: str, *, option: str, now: datetime | None = None) -> datetime:
    """An ISO 8601 time, in UTC if it names no zone; with ``now``, also an age before it.

    Raises ``UsageError``, which names ``option``.
    """
    if now is not None and _AGE.fullmatch(text):
        return now - parse_age(text, option=option)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        age = ", or an age such as 7d" if now is not None else ""
        raise UsageError(
            f"The option {option} cannot be {text!r}",
            subject=option,
            answer=str(error),
            next_step=f"Give a time such as 2026-01-31T02:00Z{age}",
        ) from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
