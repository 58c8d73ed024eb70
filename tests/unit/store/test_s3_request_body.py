# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A body reads like a file, and leaves in pieces that fit the line."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import pytest
from zrb.store.s3_request_body import MemoryBody
from zrb.stream.bandwidth import Bandwidth

MIB = 1 << 20


@pytest.mark.parametrize(
    "steps",
    [
        lambda body: bytes(body.read()) == b"0123456789",
        lambda body: bytes(body.read(None)) == b"0123456789",
        lambda body: [bytes(body.read(4)) for _ in range(4)] == [b"0123", b"4567", b"89", b""],
        lambda body: (body.seek(3), body.tell(), bytes(body.read(2))) == (3, 3, b"34"),
        lambda body: (body.seek(-2, 2), bytes(body.read())) == (8, b"89"),
        lambda body: (body.seek(4), body.seek(1, 1), body.seek(99), body.seek(-1)) == (4, 5, 10, 0),
        lambda body: len(body) == 10,
    ],
)
def test_a_body_reads_like_a_file(steps: Callable[[MemoryBody], bool]) -> None:
    assert steps(MemoryBody(memoryview(b"0123456789"), sha256=b""))


def test_a_body_hands_out_the_buffer_itself() -> None:
    buffer = bytearray(b"0123")
    piece = MemoryBody(memoryview(buffer), sha256=b"").read(2)
    buffer[0] = ord("X")
    assert bytes(piece) == b"X1"


class Line:
    """Time that passes as a line of ``rate`` bytes/s takes what is sent, and as a flow waits."""

    def __init__(self, rate: float) -> None:
        self.now = 0.0
        self._rate = rate
        self.sent: list[tuple[float, int]] = []

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def take(self, body: MemoryBody, until: float = float("inf")) -> None:
        while self.now < until and (piece := body.read(16384)):
            self.sent.append((self.now, len(piece)))
            self.now += len(piece) / self._rate


def leaving(body: MemoryBody) -> MemoryBody:
    body.leave()
    return body


def test_a_fast_line_takes_pieces_of_a_mebibyte() -> None:
    line = Line(100e6)
    line.take(leaving(MemoryBody(memoryview(bytes(64 * MIB)), sha256=b"", clock=lambda: line.now)))
    lengths = [length for _, length in line.sent]
    assert sum(lengths) == 64 * MIB
    assert sum(length for length in lengths if length == MIB) >= 62 * MIB


@pytest.mark.parametrize("rate", [20e3, 100e3, 1e6, 4e6])
def test_no_piece_takes_long_even_where_the_line_slows_down(rate: float) -> None:
    line = Line(rate)
    body = leaving(MemoryBody(memoryview(bytes(8 * MIB)), sha256=b"", clock=lambda: line.now))
    line.take(body, until=3)
    line._rate = rate / 4
    line.take(body, until=60)
    took = [after - at for (at, _), (after, _) in pairwise(line.sent)]
    assert max(took) <= 2.0
    assert sorted(took)[len(took) // 2] <= 1.7


@pytest.mark.parametrize("limit", [16_000, 100_000, 1_000_000, 50_000_000])
@pytest.mark.parametrize("chunk", [8 * MIB, 256 * MIB])
def test_a_limit_is_exact_over_ten_seconds(limit: int, chunk: int) -> None:
    """Also if one chunk takes minutes."""
    line = Line(1e9)
    bandwidth = Bandwidth(limit, clock=lambda: line.now)
    view = memoryview(bytearray(chunk))
    while line.now < 30:
        flow = SimpleNamespace(ask=lambda length: line.wait(bandwidth.delay(length))).ask
        line.take(leaving(MemoryBody(view, sha256=b"", flow=flow, clock=lambda: line.now)), until=30)
    for start in range(20):
        sent = sum(length for at, length in line.sent if start <= at < start + 10)
        assert sent == pytest.approx(10 * limit, rel=0.05)
