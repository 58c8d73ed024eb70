# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the tables of docs/performance.md are computed from: how fast a stream is on other machines and links, and what
a large fleet asks of a bucket.

    .venv/bin/python -m tests.bench.model          print these tables
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from zrb.plan.part_sizes import choose_sizes, stored_bytes
from zrb.values.config import KIB, Limits
from zrb.values.storage_classes import prices_of

PAGE = Path(__file__).parents[2] / "docs" / "performance.md"

WIRE_SHARE = 0.94
"""What TCP, IP and Ethernet with frames of 1,500 bytes leave of a link."""


@dataclass(frozen=True, slots=True)
class Direction:
    """How often a byte goes through each stage, and through which of them all bytes go one after another."""

    passes: Mapping[str, float]
    in_turn: tuple[Mapping[str, float], ...]


BACKUP = Direction(
    {"read a pipe": 1, "BLAKE3": 3, "SHA-256": 2, "encrypt": 1, "decrypt": 1, "send by HTTPS": 1},
    ({"read a pipe": 1, "BLAKE3": 2}, {"SHA-256": 1}),
)
RESTORE = Direction(
    {"receive by HTTPS": 1, "SHA-256": 1, "decrypt": 1, "BLAKE3": 1, "write a pipe": 1},
    ({"BLAKE3": 1, "write a pipe": 1},),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """Its cores, and how many times as long a core takes as the one that was measured."""

    name: str
    cores: int
    slower: float = 1.0


MACHINES = (
    Machine("2 cores", 2),
    Machine("4 cores", 4),
    Machine("16 cores", 16),
    Machine("2 weak cores", 2, 4.0),
    Machine("4 weak cores", 4, 4.0),
)
LINKS = {"100 Mb/s": 0.1e9, "1 Gb/s": 1e9, "10 Gb/s": 10e9, "25 Gb/s": 25e9}


def speed(direction: Direction, costs: Mapping[str, float], machine: Machine, link_bits: float) -> tuple[float, str]:
    """Bytes per second of one stream, and what limits it. ``costs`` are CPU seconds per GB of the stages."""

    def seconds(passes: Mapping[str, float]) -> float:
        return machine.slower * sum(count * costs[stage] for stage, count in passes.items()) / 1e9

    limits = {
        "link": link_bits / 8 * WIRE_SHARE,
        "cores": machine.cores / seconds(direction.passes),
        "order": min(1 / seconds(one) for one in direction.in_turn),
    }
    limit = min(limits, key=lambda name: limits[name])
    return limits[limit], limit


def speeds(direction: Direction, costs: Mapping[str, float]) -> Iterator[str]:
    """The rows of the table of ``direction``: a machine each, a column for each link."""
    yield from _heading("", *LINKS)
    for machine in MACHINES:
        cells = (speed(direction, costs, machine, bits) for bits in LINKS.values())
        yield _row(machine.name, *(f"{_rounded(rate / 1e6)}, {limit}" for rate, limit in cells))


def full_backups(costs: Mapping[str, float]) -> Iterator[str]:
    """How long a level 0 takes."""
    yield from _heading("level 0 of", *LINKS)
    for size, name in ((1e12, "1 TB"), (10e12, "10 TB"), (40e12, "40 TB"), (100e12, "100 TB")):
        cells = (speed(BACKUP, costs, MACHINES[1], bits)[0] for bits in LINKS.values())
        yield _row(name, *(_duration(size / rate) for rate in cells))


def round_trips() -> Iterator[str]:
    """What the time that an endpoint takes for a request leaves of a link of 1 Gb/s, at the default sizes."""
    limits = choose_sizes(Limits(), stream_bytes=10**12)
    yield from _heading("each request waits", "1 worker", "4 workers", "16 workers")
    for wait in (0.02, 0.1, 0.5, 2.0):
        cells = []
        for workers in (1, 4, 16):
            chunk = min(limits.chunk_size, choose_sizes(Limits(workers=workers)).chunk_size)
            link = LINKS["1 Gb/s"] / 8 * WIRE_SHARE
            # While one request waits, the others use the link.
            rate = min(link, workers * chunk / (wait + chunk / link))
            cells.append(f"{_rounded(rate / 1e6)} MB/s")
        yield _row(f"{wait * 1000:.0f} ms", *cells)


HOSTS = 10_000
HOST_BYTES = 100 * 10**12
FULL_DAYS = 30
NIGHTLY_SHARE = 0.002
NIGHT_SECONDS = 8 * 3600


def fleet() -> Iterator[str]:
    """10,000 hosts with one dataset of 100 TB each: level 0 within a month, and then the nights."""
    yield from _heading("class", "part", "objects", "requests/s, level 0", "requests/s, nights", "storage", "level 0")
    for name in ("STANDARD", "STANDARD_IA", "GLACIER_IR", "GLACIER", "DEEP_ARCHIVE"):
        prices = prices_of(name)
        full = choose_sizes(Limits(), stream_bytes=HOST_BYTES, storage_class=name)
        night_bytes = int(HOST_BYTES * NIGHTLY_SHARE)
        night = choose_sizes(Limits(), stream_bytes=night_bytes, storage_class=name)
        objects, chunks = _objects(full, HOST_BYTES)
        night_objects, night_chunks = _objects(night, night_bytes)
        # Each part is begun and completed, and has its chunks.
        full_rate = HOSTS * (2 * objects + chunks) / (FULL_DAYS * 86400)
        night_rate = HOSTS * (2 * night_objects + night_chunks) / NIGHT_SECONDS
        requests_usd = HOSTS * (2 * objects * prices.thousand_objects + chunks * prices.thousand_chunks) / 1000
        stored = HOSTS * objects * stored_bytes(full.part_size)
        yield _row(
            name,
            f"{full.part_size // KIB**2:,} MiB",
            f"{HOSTS * objects / 1e6:.0f} million",
            f"{full_rate:,.0f}",
            f"{night_rate:,.0f}",
            f"{stored / 1e9 * prices.gb_month / 1e6:.1f} million $/month",
            f"{requests_usd / 1e3:,.0f},000 $",
        )


def _objects(limits: Limits, stream_bytes: int) -> tuple[int, int]:
    objects = -(-stream_bytes // limits.part_size)
    return objects, objects * -(-stored_bytes(limits.part_size) // limits.chunk_size)


def costs_of(page: str) -> dict[str, float]:
    """The CPU seconds per GB of each stage, out of the first table of the page."""
    table = page.split("<!-- costs -->")[1].split("<!-- end -->", maxsplit=1)[0]
    return {stage: float(cost) for stage, cost in re.findall(r"^\| ([^|]+?) +\| ([0-9.]+) +\|", table, re.MULTILINE)}


def tables(costs: Mapping[str, float]) -> dict[str, str]:
    """Each table of the page that is computed, by the name that stands before it."""
    made = {
        "backup": speeds(BACKUP, costs),
        "restore": speeds(RESTORE, costs),
        "full": full_backups(costs),
        "wait": round_trips(),
        "fleet": fleet(),
    }
    return {name: "\n".join(rows) for name, rows in made.items()}


def _heading(*cells: str) -> tuple[str, str]:
    return _row(*cells), "|" + " --- |" * len(cells)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _rounded(value: float) -> str:
    """Two digits: a model does not know more."""
    return f"{float(f'{value:.2g}'):,.0f}"


def _duration(seconds: float) -> str:
    hours = seconds / 3600
    if hours < 2:
        return f"{_rounded(hours * 60)} minutes"
    return f"{_rounded(hours)} hours" if hours < 72 else f"{_rounded(hours / 24)} days"


if __name__ == "__main__":
    for title, rows in tables(costs_of(PAGE.read_text(encoding="utf-8"))).items():
        print(f"<!-- {title} -->\n{rows}\n<!-- end -->\n")
