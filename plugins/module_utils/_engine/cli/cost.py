# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb cost``."""

from __future__ import annotations

from typing import Any

from .options import add_command
from .output import put, show_failures
from .session import Session
from .tables import human_size, printable, show_table

_EXAMPLE = """\
  zrb cost
  zrb cost --most 25                      warn if a month costs more
  zrb cost --host nas1 --json"""
_KINDS = {"storage_class": "STORAGE CLASS", "level": "LEVEL", "dataset": "DATASET", "host": "HOST"}


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser = add_command(
        commands,
        "cost",
        run,
        summary="show what the repository costs, and what it will",
        example=_EXAMPLE,
        dry_run=False,
    )
    parser.add_argument("--host", metavar="NAME", help="only what this machine has in it (default: all machines)")
    parser.add_argument(
        "--most",
        metavar="PRICE",
        type=float,
        help="warn if a month costs more than this, now, in a month or in a year, or if nobody knows",
    )


def run(session: Session) -> int:
    """Run the command."""
    from ..run.cost import cost_of_repository

    with session.open_context(writes=False) as context:
        report = cost_of_repository(context, host=session.args.host, most=session.args.most)
    document = report.as_json()
    session.give(document, lambda: _show(document))
    for warning in report.warnings:
        session.warn(warning)
    show_failures(document["problems"])
    return report.exit_code


def _show(document: dict[str, Any]) -> None:
    for kind, header in _KINDS.items():
        show_table(
            ("OBJECTS", "STORED", "A MONTH", header),
            [(*_figures(one), one["name"] or "-") for one in document["parts"][kind]],
            right=("OBJECTS", "STORED", "A MONTH"),
        )
        put("")
    objects, size, price = _figures(document["total"])
    put(f"All: {objects} object(s), {size}, {price} a month")
    if document["other"]["objects"]:
        objects, size, price = _figures(document["other"])
        put(f"Of these in no backup that is listed: {objects} object(s), {size}, {price} a month")
    if document["early_fee"] != 0:
        put(f"To remove everything now would cost {_money(document['early_fee'])} for early deletion")
    for one in document["outlooks"]:
        size = human_size(one["bytes"])
        put(f"In {one['days']} days: {one['backups']} backup(s), {size}, {_money(one['month_price'])} a month")
    put("if backups go on as until now, and `zrb cleanup` removes what no rule keeps")
    for series in document["not_foreseen"]:
        put(printable(f"Not foreseen, damaged or younger than 7 days: {series['host']}:{series['dataset']}"))
    _show_prices(document["prices"], document["unpriced"])


def _show_prices(prices: dict[str, Any], unpriced: list[str]) -> None:
    if prices["as_of"]:
        put(f"Prices of {prices['name']}, in US dollars, of {prices['as_of']} or later:")
        put(f"{prices['source']}")
    if prices["note"]:
        put(prices["note"])
    if prices["own"]:
        put(f"Your own prices: {', '.join(prices['own'])}")
    for name in unpriced:
        put(printable(f"No price is known for {name} at {prices['name']}:"))
        put("give it under `prices` in the configuration")


def _figures(cost: dict[str, Any]) -> tuple[str, str, str]:
    return str(cost["objects"]), human_size(cost["bytes"]), _money(cost["month_price"])


def _money(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.2f}"
