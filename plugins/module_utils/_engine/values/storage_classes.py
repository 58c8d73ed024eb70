# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The storage classes of S3: their names, how their objects are billed, and whether these must be thawed before they
can be read. What they cost is in ``plan/price_list.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

READABLE_CLASSES: Final = (
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"),
    *("GLACIER_IR", "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"),
)
ARCHIVE_CLASSES: Final = ("GLACIER", "DEEP_ARCHIVE")
"""Their objects must be thawed before they can be read."""


@dataclass(frozen=True, slots=True)
class Billing:
    """How objects of a class are billed. An object costs at least as much as ``least_bytes`` for ``least_days``;
    ``overhead_bytes`` more are billed in its class, and ``standard_overhead_bytes`` more as STANDARD."""

    least_days: int = 0
    least_bytes: int = 0
    overhead_bytes: int = 0
    standard_overhead_bytes: int = 0


_KIB: Final = 1024
STANDARD: Final = Billing()
AWS_BILLING: Final[Mapping[str, Billing]] = MappingProxyType(
    {
        "STANDARD_IA": Billing(30, 128 * _KIB),
        "ONEZONE_IA": Billing(30, 128 * _KIB),
        "GLACIER_IR": Billing(90, 128 * _KIB),
        "GLACIER": Billing(90, 0, 32 * _KIB, 8 * _KIB),
        "DEEP_ARCHIVE": Billing(180, 0, 32 * _KIB, 8 * _KIB),
    }
)
"""By class (https://aws.amazon.com/s3/pricing/). A class that is not here is billed like :data:`STANDARD`."""
