# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The prices and the examples of docs/costs.md follow from the prices that zrb knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from zrb.plan.price_list import AWS, OTHERS, PriceList

PAGE = Path(__file__).parents[2] / "docs" / "costs.md"
KIB, MIB, GIB = 2**10, 2**20, 2**30
B2 = OTHERS["backblazeb2.com"]
FRANKFURT, VIRGINIA = AWS["eu-central-1"], AWS["us-east-1"]


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [headers, ["---", *["---:"] * (len(headers) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def shown(price: float | None) -> str:
    return "unknown" if price is None else f"{price:.5f}".rstrip("0").rstrip(".")


def storage_prices() -> str:
    classes = [*VIRGINIA.classes]
    return table(
        ("class", *(f"`{region}`" for region in AWS)),
        ((f"`{name}`", *(shown(prices.classes[name].gb_month) for prices in AWS.values())) for name in classes),
    )


def other_prices() -> str:
    """Of requests, and of reading."""
    return table(
        ("where", "class", "1,000 PUT", "1,000 GET", "GB read", "GB that leaves", "as of"),
        (
            (
                prices.name.removeprefix("AWS S3, "),
                f"`{name}`",
                *(shown(price) for price in (one.thousand_puts, one.thousand_gets, one.gb_retrieved)),
                shown(prices.gb_egress),
                one.as_of,
            )
            for prices in AWS.values()
            for name, one in prices.classes.items()
        ),
    )


def provider_prices() -> str:
    return table(
        ("provider", "class", "GB for a month", "GB", "1,000 PUT", "1,000 GET", "GB read", "GB that leaves", "as of"),
        (
            (
                f"[{prices.name}]({prices.source})",
                f"`{name}`",
                shown(one.gb_month),
                "2^30 bytes" if prices.gb_bytes == GIB else "10^9 bytes",
                *(shown(price) for price in (one.thousand_puts, one.thousand_gets, one.gb_retrieved)),
                shown(prices.gb_egress),
                one.as_of,
            )
            for prices in OTHERS.values()
            for name, one in prices.classes.items()
        ),
    )


def stored(prices: PriceList, storage_class: str, objects: int, object_bytes: int) -> float:
    billed = objects * prices.billed_bytes(storage_class, object_bytes)
    price = prices.month_price(storage_class, billed_bytes=billed, objects=objects)
    assert price is not None
    return price


def put(prices: PriceList, storage_class: str, requests: int) -> float:
    price = prices.classes[storage_class].thousand_puts
    assert price is not None
    return requests / 1000 * price


def sums(*rows: tuple[str, str, float]) -> str:
    return table(("what", "how much", "USD"), [(what, how, f"{usd:.2f}") for what, how, usd in (*rows, _total(rows))])


def _total(rows: Sequence[tuple[str, str, float]]) -> tuple[str, str, float]:
    return "together, a month", "", sum(usd for _what, _how, usd in rows)


def home_server() -> str:
    return sums(
        ("2 backups of level 0", "2,400 objects of 256 MiB", stored(B2, "STANDARD", 2400, 256 * MIB)),
        ("30 backups of level 1", "600 objects of 256 MiB", stored(B2, "STANDARD", 600, 256 * MIB)),
    )


def archive() -> str:
    return sums(
        (
            "2 backups of level 0, `DEEP_ARCHIVE`",
            "40,960 objects of 1 GiB",
            stored(FRANKFURT, "DEEP_ARCHIVE", 40960, GIB),
        ),
        (
            "60 backups of level 1, `STANDARD_IA`",
            "4,800 objects of 256 MiB",
            stored(FRANKFURT, "STANDARD_IA", 4800, 256 * MIB),
        ),
    )


def small_ones(storage_class: str, days: int) -> str:
    made = 24 * 30 * 100
    there = made * days // 30
    return sums(
        ("stored, or charged for", f"{there:,} objects of 20 KiB", stored(VIRGINIA, storage_class, there, 20 * KIB)),
        ("written", f"{made:,} requests", put(VIRGINIA, storage_class, made)),
    )


TABLES = {
    "storage": storage_prices,
    "requests": other_prices,
    "providers": provider_prices,
    "home": home_server,
    "archive": archive,
    "small standard": lambda: small_ones("STANDARD", 2),
    "small glacier": lambda: small_ones("GLACIER_IR", 90),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_what_the_prices_say(name: str) -> None:
    on_page = PAGE.read_text(encoding="utf-8").split(f"<!-- {name} -->\n")[1].split("\n<!-- end -->")[0]
    assert on_page == TABLES[name]()


def test_the_sentences_of_the_examples() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    gib_month = FRANKFURT.classes["DEEP_ARCHIVE"].gb_month
    read = VIRGINIA.classes["DEEP_ARCHIVE"].gb_retrieved
    assert gib_month is not None
    assert read is not None
    assert VIRGINIA.gb_egress is not None
    # Half of 180 days, so three months, of one of the two.
    assert f"after 90 days costs {stored(FRANKFURT, 'DEEP_ARCHIVE', 20480, GIB) * 3:.2f}" in text
    restore = 20480 * (read + VIRGINIA.gb_egress)
    assert f"20 TiB from `us-east-1` costs {restore:,.2f}" in text
    assert f"{20480 * read:,.2f} to thaw" in text
    assert f"{20480 * VIRGINIA.gb_egress:,.2f} to download" in text
