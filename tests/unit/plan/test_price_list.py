# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from itertools import pairwise
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zrb.plan.price_list import AWS, GB, GIB, OTHERS, ClassPrices, PriceList, price_list
from zrb.values.config import Config, LocalSettings, S3Settings
from zrb.values.storage_classes import AWS_BILLING

CHEAPER = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE")
"""The classes of AWS. Each has a lower price than the one before, in every region."""
LISTS = {**AWS, **OTHERS}


def config(region: str = "us-east-1", endpoint: str = "", **own: float) -> Config:
    s3 = S3Settings("a-bucket", region=region, endpoint=endpoint)
    return Config(PurePosixPath("/b"), PurePosixPath("/l"), "nas1", (), s3=s3, prices=own)


def entries() -> Iterator[tuple[str, str, ClassPrices]]:
    for place, prices in LISTS.items():
        for storage_class, entry in prices.classes.items():
            yield place, storage_class, entry


@pytest.mark.parametrize(("place", "storage_class", "entry"), list(entries()))
def test_each_price_has_a_date_and_a_source_and_is_of_the_right_size(
    place: str, storage_class: str, entry: ClassPrices
) -> None:
    assert date(2025, 1, 1) <= date.fromisoformat(entry.as_of) <= date(2026, 12, 31)
    assert LISTS[place].source.startswith("https://")
    assert entry.gb_month is not None
    assert 0.0005 < entry.gb_month < 0.03
    for price, most in ((entry.thousand_puts, 0.07), (entry.thousand_gets, 0.02), (entry.gb_retrieved, 0.05)):
        assert price is None or 0 <= price < most


@pytest.mark.parametrize("region", AWS)
def test_every_region_has_the_classes_of_aws_and_each_is_cheaper_than_the_one_before(region: str) -> None:
    prices = AWS[region]
    assert {*prices.classes} == {*CHEAPER, "INTELLIGENT_TIERING"}
    assert prices.classes["INTELLIGENT_TIERING"].gb_month == prices.classes["STANDARD"].gb_month
    months = [prices.classes[name].gb_month or 0 for name in CHEAPER]
    assert all(cheaper < dearer for dearer, cheaper in pairwise(months)), months
    assert prices.name.endswith(region)


@pytest.mark.parametrize(
    ("endpoint", "name", "gb_bytes"),
    [
        ("", "AWS S3, eu-central-1", GIB),
        ("https://s3.eu-central-1.amazonaws.com", "AWS S3, eu-central-1", GIB),
        ("https://s3.eu-central-003.backblazeb2.com", "Backblaze B2", GB),
        ("https://s3.eu-central-1.wasabisys.com", "Wasabi", GIB),
        ("https://0123abcd.eu.r2.cloudflarestorage.com", "Cloudflare R2", GB),
    ],
)
def test_the_endpoint_says_whose_prices_count(endpoint: str, name: str, gb_bytes: int) -> None:
    found = price_list(config("eu-central-1", endpoint))
    assert (found.name, found.gb_bytes, found.own) == (name, gb_bytes, ())
    assert found.month_price("STANDARD", billed_bytes=gb_bytes, objects=1) == found.classes["STANDARD"].gb_month


@pytest.mark.parametrize(
    "endpoint",
    ["https://s3.example.net", "http://127.0.0.1:9000", "https://notwasabisys.com", "https://wasabisys.com.evil"],
)
def test_nothing_is_guessed_for_others(endpoint: str) -> None:
    found = price_list(config(endpoint=endpoint))
    assert found.month_price("STANDARD", billed_bytes=1, objects=1) is None
    assert (found.as_of, found.classes) == (None, {})


def test_nothing_is_guessed_for_other_regions_and_directories() -> None:
    region = price_list(config("mars-north-1"))
    assert region.month_price("STANDARD", billed_bytes=1, objects=1) is None
    assert region.billing_of("DEEP_ARCHIVE").least_days == 180, "rules are the same in every region"
    disk = Config(PurePosixPath("/b"), PurePosixPath("/l"), "nas1", (), local=LocalSettings(PurePosixPath("/disk")))
    assert price_list(disk).month_price("STANDARD", billed_bytes=1, objects=1) is None


def test_the_owners_prices_count_before_the_known_ones() -> None:
    found = price_list(config("eu-central-1", STANDARD=0.5, GLACIER=0.25))
    assert found.month_price("STANDARD", billed_bytes=2 * GIB, objects=1) == 1.0
    assert found.classes["STANDARD"].thousand_puts == AWS["eu-central-1"].classes["STANDARD"].thousand_puts
    assert found.classes["DEEP_ARCHIVE"] == AWS["eu-central-1"].classes["DEEP_ARCHIVE"]
    assert found.own == ("STANDARD", "GLACIER")
    assert (
        price_list(config(endpoint="https://s3.example.net", STANDARD=2.0)).month_price(
            "STANDARD", billed_bytes=GB, objects=1
        )
        == 2.0
    ), "a GB of whom nobody knows is 10^9 bytes"


@given(st.sampled_from([*AWS_BILLING, "STANDARD"]), st.integers(0, 10**12))
def test_an_object_is_never_billed_as_less_than_it_is(storage_class: str, size: int) -> None:
    prices = AWS["us-east-1"]
    billed = prices.billed_bytes(storage_class, size)
    billing = prices.billing_of(storage_class)
    assert billed >= max(size, billing.least_bytes)
    assert billed == size or billing.overhead_bytes or size < billing.least_bytes


def test_an_archived_object_has_forty_kib_more() -> None:
    """32 at its own price, 8 at that of STANDARD; and if that is unknown, so is the sum."""
    prices = AWS["us-east-1"]
    billed = prices.billed_bytes("DEEP_ARCHIVE", 0)
    price = prices.month_price("DEEP_ARCHIVE", billed_bytes=billed, objects=1)
    assert price == pytest.approx((32 * 0.00099 + 8 * 0.023) / 1024**2)
    only = PriceList("", classes={"DEEP_ARCHIVE": prices.classes["DEEP_ARCHIVE"]})
    assert only.month_price("DEEP_ARCHIVE", billed_bytes=billed, objects=1) is None


def test_wasabi_charges_for_ninety_days_whatever_the_class_is_called() -> None:
    assert OTHERS["wasabisys.com"].billing_of("STANDARD").least_days == 90
    assert OTHERS["backblazeb2.com"].billing_of("STANDARD").least_days == 0
