# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The storage classes of S3: their names, their prices, and whether objects must be thawed before they can be read.

Prices are those of us-east-1 (https://aws.amazon.com/s3/pricing/). Only their ratios decide about sizes, and these
differ little between regions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

READABLE_CLASSES: Final = (
    *("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING"),
    *("GLACIER_IR", "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"),
)
ARCHIVE_CLASSES: Final = ("GLACIER", "DEEP_ARCHIVE")
"""Their objects must be thawed before they can be read."""


@dataclass(frozen=True, slots=True)
class ClassPrices:
    """Prices of one class in US dollars. An object costs at least as much as ``least_bytes`` for ``least_days``. Chunks
    for an archive class cost the STANDARD price (docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html)."""

    gb_month: float
    thousand_objects: float
    thousand_chunks: float
    least_days: int = 30
    least_bytes: int = 0


_KIB: Final = 1024
_STANDARD: Final = ClassPrices(0.023, 0.005, 0.005)
_PRICES: Final = {
    "STANDARD_IA": ClassPrices(0.0125, 0.01, 0.01, 30, 128 * _KIB),
    "ONEZONE_IA": ClassPrices(0.01, 0.01, 0.01, 30, 128 * _KIB),
    "GLACIER_IR": ClassPrices(0.004, 0.02, 0.02, 90, 128 * _KIB),
    "GLACIER": ClassPrices(0.0036, 0.03, 0.005, 90, 40 * _KIB),
    "DEEP_ARCHIVE": ClassPrices(0.00099, 0.05, 0.005, 180, 40 * _KIB),
}


def least_days(storage_class: str) -> int:
    """The days for which an object of a class is charged at least. 0 for a class that is not listed, and STANDARD."""
    return _PRICES[storage_class].least_days if storage_class in _PRICES else 0


def prices_of(storage_class: str) -> ClassPrices:
    """The prices of a class. For a class that is not listed, those of STANDARD."""
    return _PRICES.get(storage_class, _STANDARD)
