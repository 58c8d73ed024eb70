# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What storage costs, as data with date and source: AWS S3 in six regions, and three other providers. In US dollars,
for the first terabytes, without taxes and free allowances. What is not here is unknown, and never guessed.

A price that has changed is corrected here: the number, and its date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from ..values.config import Config
from ..values.storage_classes import AWS_BILLING, STANDARD, Billing

GB: Final = 10**9
GIB: Final = 2**30
MONTH_DAYS: Final = 30

FIRST_REGION: Final = "us-east-1"


@dataclass(frozen=True, slots=True)
class ClassPrices:
    """Prices of one storage class, as they were at ``as_of`` (a date): of a GB for a month, of a thousand requests, and
    of a GB that is read. ``None`` is unknown."""

    gb_month: float | None
    as_of: str
    thousand_puts: float | None = None
    thousand_gets: float | None = None
    gb_retrieved: float | None = None


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices of one provider, in one region if they differ between regions. ``gb_bytes`` is what it calls a GB, and
    ``gb_egress`` the price of one that leaves it. ``source`` is its own page of prices; ``note`` is what these numbers
    leave out. ``own`` are the classes whose price is from the configuration."""

    name: str
    source: str = ""
    gb_bytes: int = GB
    gb_egress: float | None = None
    classes: Mapping[str, ClassPrices] = field(default_factory=dict)
    billing: Mapping[str, Billing] = field(default_factory=lambda: AWS_BILLING)
    note: str = ""
    own: tuple[str, ...] = ()

    def billing_of(self, storage_class: str) -> Billing:
        """How objects of a class are billed."""
        return self.billing.get(storage_class, STANDARD)

    def billed_bytes(self, storage_class: str, object_bytes: int) -> int:
        """The bytes that an object is billed as, in its own class."""
        billing = self.billing_of(storage_class)
        return max(object_bytes, billing.least_bytes) + billing.overhead_bytes

    def month_price(self, storage_class: str, *, billed_bytes: int, objects: int) -> float | None:
        """What ``objects`` of ``billed_bytes`` together cost in a month. ``None`` if a price that this needs is
        unknown."""
        price = self._gb_month(storage_class)
        beside = objects * self.billing_of(storage_class).standard_overhead_bytes
        if price is None or not beside:
            return None if price is None else billed_bytes / self.gb_bytes * price
        standard = self._gb_month("STANDARD")
        return None if standard is None else (billed_bytes * price + beside * standard) / self.gb_bytes

    def _gb_month(self, storage_class: str) -> float | None:
        prices = self.classes.get(storage_class)
        return prices.gb_month if prices else None

    def as_json(self) -> dict[str, Any]:
        """Where the prices come from, for machines."""
        return {
            "name": self.name,
            "source": self.source or None,
            "as_of": self.as_of,
            "own": list(self.own),
            "note": self.note or None,
        }

    @property
    def as_of(self) -> str | None:
        """The date of the oldest of these prices."""
        return min((one.as_of for name, one in self.classes.items() if name not in self.own), default=None)


def price_list(config: Config) -> PriceList:
    """The prices at the repository of ``config``: those of its provider, and before them those that ``prices`` says. A
    GB of these is what the provider calls a GB."""
    known = _provider(config)
    own = {
        name: replace(known.classes[name], gb_month=price) if name in known.classes else ClassPrices(price, "")
        for name, price in config.prices.items()
    }
    return replace(known, classes={**known.classes, **own}, own=tuple(own))


def _provider(config: Config) -> PriceList:
    if config.s3 is None:
        return PriceList("a directory")
    host = urlsplit(config.s3.endpoint).hostname or ""
    if not host or host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return AWS.get(config.s3.region, PriceList(f"AWS S3, {config.s3.region}", _AWS_PAGE, GIB))
    for domain, prices in OTHERS.items():
        if host.endswith(f".{domain}"):
            return prices
    return PriceList(host)


_AWS_PAGE: Final = "https://aws.amazon.com/s3/pricing/"


def _aws(region: str, gb_egress: float, **classes: ClassPrices) -> PriceList:
    return PriceList(
        f"AWS S3, {region}",
        _AWS_PAGE,
        GIB,  # "100 GB (107,374,182,400 bytes)": https://aws.amazon.com/s3/faqs/
        gb_egress,
        MappingProxyType(classes),
        note="The price of the first 50 TB. INTELLIGENT_TIERING counts as frequently read, without its monitoring.",
    )


AWS: Final[Mapping[str, PriceList]] = MappingProxyType(
    {
        FIRST_REGION: _aws(
            FIRST_REGION,
            0.09,
            STANDARD=ClassPrices(0.023, "2026-08-18", 0.005, 0.0004, 0.0),
            INTELLIGENT_TIERING=ClassPrices(0.023, "2026-08-18", 0.005, 0.0004, 0.0),
            STANDARD_IA=ClassPrices(0.0125, "2026-08-18", 0.01, 0.001, 0.01),
            ONEZONE_IA=ClassPrices(0.01, "2026-08-18", 0.01, 0.001, 0.01),
            GLACIER_IR=ClassPrices(0.004, "2026-08-18", 0.02, 0.01, 0.03),
            GLACIER=ClassPrices(0.0036, "2026-08-18", 0.03, 0.0004, 0.01),
            DEEP_ARCHIVE=ClassPrices(0.00099, "2026-08-18", 0.05, 0.0004, 0.02),
        ),
        "us-west-2": _aws(
            "us-west-2",
            0.09,
            STANDARD=ClassPrices(0.023, "2025-08-28", 0.005, 0.0004, 0.0),
            INTELLIGENT_TIERING=ClassPrices(0.023, "2025-08-28", gb_retrieved=0.0),
            STANDARD_IA=ClassPrices(0.0125, "2025-08-28", 0.01),
            ONEZONE_IA=ClassPrices(0.01, "2025-08-28"),
            GLACIER_IR=ClassPrices(0.004, "2025-08-28"),
            GLACIER=ClassPrices(0.0036, "2025-08-28"),
            DEEP_ARCHIVE=ClassPrices(0.00099, "2025-08-28"),
        ),
        "eu-west-1": _aws(
            "eu-west-1",
            0.09,
            STANDARD=ClassPrices(0.023, "2026-08-07", 0.005, 0.0004, 0.0),
            INTELLIGENT_TIERING=ClassPrices(0.023, "2025-08-28", gb_retrieved=0.0),
            STANDARD_IA=ClassPrices(0.0125, "2026-08-07", 0.01, 0.001),
            ONEZONE_IA=ClassPrices(0.01, "2025-08-28"),
            GLACIER_IR=ClassPrices(0.004, "2025-08-28"),
            GLACIER=ClassPrices(0.0036, "2025-08-28"),
            DEEP_ARCHIVE=ClassPrices(0.00099, "2025-08-28"),
        ),
        "eu-central-1": _aws(
            "eu-central-1",
            0.09,
            STANDARD=ClassPrices(0.0245, "2026-08-07", 0.0054, 0.00043, 0.0),
            INTELLIGENT_TIERING=ClassPrices(0.0245, "2025-08-28", gb_retrieved=0.0),
            STANDARD_IA=ClassPrices(0.0135, "2026-08-07", 0.01, 0.001),
            ONEZONE_IA=ClassPrices(0.0108, "2025-08-28"),
            GLACIER_IR=ClassPrices(0.005, "2025-08-28"),
            GLACIER=ClassPrices(0.00405, "2025-08-28"),
            DEEP_ARCHIVE=ClassPrices(0.0018, "2025-08-28", 0.06),
        ),
        "ap-southeast-1": _aws(
            "ap-southeast-1",
            0.12,
            STANDARD=ClassPrices(0.025, "2026-08-12", 0.005, 0.0004, 0.0),
            INTELLIGENT_TIERING=ClassPrices(0.025, "2025-08-28", gb_retrieved=0.0),
            STANDARD_IA=ClassPrices(0.0138, "2026-08-12"),
            ONEZONE_IA=ClassPrices(0.011, "2025-08-28"),
            GLACIER_IR=ClassPrices(0.005, "2026-08-12", 0.02),
            GLACIER=ClassPrices(0.0045, "2025-08-28"),
            DEEP_ARCHIVE=ClassPrices(0.002, "2025-08-28"),
        ),
        "ap-northeast-1": _aws(
            "ap-northeast-1",
            0.114,
            STANDARD=ClassPrices(0.025, "2026-08-18", 0.0047, 0.00037, 0.0),
            INTELLIGENT_TIERING=ClassPrices(0.025, "2026-08-18", 0.0047, 0.00037, 0.0),
            STANDARD_IA=ClassPrices(0.0138, "2026-08-18", 0.01, 0.001, 0.01),
            ONEZONE_IA=ClassPrices(0.011, "2026-08-18", 0.01, 0.001, 0.01),
            GLACIER_IR=ClassPrices(0.005, "2026-08-18", 0.02, 0.01, 0.03),
            GLACIER=ClassPrices(0.0045, "2026-08-18", 0.03426, 0.00037, 0.011),
            DEEP_ARCHIVE=ClassPrices(0.002, "2026-08-18", 0.065, 0.00037, 0.022),
        ),
    }
)
"""By region."""

_MONTHLY: Final = "2026-09-01"

OTHERS: Final[Mapping[str, PriceList]] = MappingProxyType(
    {
        "backblazeb2.com": PriceList(
            "Backblaze B2",
            "https://www.backblaze.com/cloud-storage/pricing",
            GB,
            0.01,
            MappingProxyType({"STANDARD": ClassPrices(0.00695, _MONTHLY, 0.0, 0.0, 0.0)}),
            MappingProxyType({}),
            "The first 10 GB are free, and downloads of up to three times what is stored.",
        ),
        "wasabisys.com": PriceList(
            "Wasabi",
            "https://wasabi.com/pricing",
            GIB,  # https://docs.wasabi.com/docs/does-wasabi-use-base-2-or-base-10-in-billing-calculations
            0.0,
            MappingProxyType({"STANDARD": ClassPrices(7.99 / 1024, _MONTHLY, 0.0, 0.0, 0.0)}),
            MappingProxyType({"STANDARD": Billing(least_days=90, least_bytes=4 * 1024)}),
            "At least 1 TB is charged for. Not more may be downloaded in a month than is stored.",
        ),
        "r2.cloudflarestorage.com": PriceList(
            "Cloudflare R2",
            "https://developers.cloudflare.com/r2/pricing/",
            GB,
            0.0,
            MappingProxyType(
                {
                    "STANDARD": ClassPrices(0.015, _MONTHLY, 0.0045, 0.00036, 0.0),
                    "STANDARD_IA": ClassPrices(0.01, _MONTHLY, 0.009, 0.0009, 0.01),
                }
            ),
            MappingProxyType({"STANDARD_IA": Billing(least_days=30)}),
            "10 GB of STANDARD are free. Each sum is rounded up to the next GB.",
        ),
    }
)
"""By the domain of their endpoints."""
