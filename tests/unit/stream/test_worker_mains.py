# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the worker processes do, message by message; here they are threads of this process."""

from __future__ import annotations

import io
import multiprocessing
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import BadRecipient, PartDamaged
from zrb.seal.age import AgeOpener, AgeSealer
from zrb.stream.buffers import SharedBuffers
from zrb.stream.opening import opening_main
from zrb.stream.sealing import sealing_main
from zrb.stream.workers import WorkerSide, _run

from tests.unit.stream.piping import IDENTITY, KIB, RECIPIENT, random_bytes

Message = tuple[Any, ...]


class Owner:
    """The owner's side of a worker, whose output buffers are all free in the beginning."""

    def __init__(self, main: Callable[[WorkerSide], None], *, free: int) -> None:
        inbox, self.inbox = multiprocessing.Pipe(duplex=False)
        returned, self.returned = multiprocessing.Pipe(duplex=False)
        self.outbox, outbox = multiprocessing.Pipe(duplex=False)
        self.worker_ends = [inbox, returned, outbox]
        self.raised: list[BaseException] = []
        for index in range(free):
            self.returned.send(index)
        self._thread = threading.Thread(target=self._work, args=(main, WorkerSide(inbox, returned, outbox)))
        self._thread.start()

    def _work(self, main: Callable[[WorkerSide], None], side: WorkerSide) -> None:
        try:
            main(side)
        except BaseException as error:
            self.raised.append(error)
        finally:
            for end in self.worker_ends:
                end.close()

    def until(self, last: str) -> list[Message]:
        """Messages up to and with the first ``last``."""
        messages: list[Message] = []
        while not messages or messages[-1][0] != last:
            messages.append(self.outbox.recv())
        return messages

    def close(self) -> None:
        """Go away, as a process that dies."""
        for end in (self.inbox, self.returned, self.outbox):
            end.close()
        self._thread.join()


@pytest.fixture
def blocks() -> SharedBuffers:
    return SharedBuffers(count=3, size=48 * KIB)


@pytest.fixture
def chunks() -> SharedBuffers:
    return SharedBuffers(count=5, size=16 * KIB)


@pytest.fixture
def sealer(blocks: SharedBuffers, chunks: SharedBuffers) -> Iterator[Owner]:
    owner = Owner(partial(sealing_main, blocks=blocks, chunks=chunks, recipients=(RECIPIENT,)), free=chunks.count)
    yield owner
    owner.close()
    assert [type(error) for error in owner.raised] == [EOFError], "the end of its pipe is its end"


@pytest.fixture
def opener(blocks: SharedBuffers, chunks: SharedBuffers) -> Iterator[Owner]:
    owner = Owner(partial(opening_main, blocks=blocks, chunks=chunks, identities=(IDENTITY,)), free=blocks.count)
    yield owner
    owner.close()


def put(buffers: SharedBuffers, index: int, data: bytes) -> tuple[int, int]:
    buffers.view(index, len(data))[:] = data
    return index, len(data)


def test_a_part_is_sealed_block_by_block(sealer: Owner, blocks: SharedBuffers, chunks: SharedBuffers) -> None:
    data = random_bytes(60 * KIB)
    for part in (4, 9):
        sealer.inbox.send(("block", part, *put(blocks, 0, data[: 48 * KIB])))
        sealer.inbox.send(("block", part, *put(blocks, 2, data[48 * KIB :])))
        sealer.inbox.send(("end", part))
        messages = sealer.until("end")
        assert [message for message in messages if message[0] == "block"] == [("block", 0), ("block", 2)]
        pieces, position = [], 0
        for number, message in enumerate(one for one in messages if one[0] == "chunk"):
            _, of, counted, offset, buffer, length = message
            assert (of, counted, offset) == (part, number, position)
            pieces.append(bytes(chunks.view(buffer, length)))
            position += length
            sealer.returned.send(buffer)
        assert {len(piece) for piece in pieces[:-1]} == {16 * KIB}
        sealed, plain = b"".join(pieces), io.BytesIO()
        assert messages[-1] == ("end", part, len(pieces), len(sealed))
        AgeOpener([IDENTITY]).decrypt(io.BytesIO(sealed), plain)
        assert plain.getvalue() == data


def test_a_sealer_rests_between_streams(sealer: Owner) -> None:
    for _ in range(2):
        sealer.inbox.send(("rest",))
        assert sealer.until("resting") == [("resting",)]


def sealed_pieces(chunks: SharedBuffers, data: bytes) -> list[tuple[int, int]]:
    sealed = io.BytesIO()
    AgeSealer([RECIPIENT]).encrypt(io.BytesIO(data), sealed)
    content = sealed.getvalue()
    size = chunks.size
    return [put(chunks, index, content[at : at + size]) for index, at in enumerate(range(0, len(content), size))]


def received(owner: Owner, blocks: SharedBuffers, part: int) -> tuple[bytes, list[int]]:
    """The plaintext of a part, and the buffers that came back."""
    plain, freed = b"", []
    for message in owner.until("end"):
        if message[0] == "block":
            _, of, block, length = message
            assert of == part
            plain += bytes(blocks.view(block, length))
            owner.returned.send(block)
        elif message[0] == "chunk":
            freed.append(message[1])
    return plain, freed


def test_a_part_in_the_pool_is_opened(opener: Owner, blocks: SharedBuffers, chunks: SharedBuffers) -> None:
    for part, length in ((0, 60 * KIB), (1, 1), (2, 64 * KIB)):
        data = random_bytes(length, part)
        pieces = sealed_pieces(chunks, data)
        opener.inbox.send(("pool", part, pieces))
        assert received(opener, blocks, part) == (data, [index for index, _ in pieces])


def test_a_part_in_the_spool_is_opened(opener: Owner, blocks: SharedBuffers, tmp_path: Path) -> None:
    data = random_bytes(130 * KIB)
    with (tmp_path / "part").open("wb") as file:
        AgeSealer([RECIPIENT]).encrypt(io.BytesIO(data), file)
    opener.inbox.send(("spool", 3, str(tmp_path / "part")))
    assert received(opener, blocks, 3) == (data, [])


def test_a_part_that_is_no_age_file(opener: Owner, chunks: SharedBuffers) -> None:
    opener.inbox.send(("pool", 0, [put(chunks, 0, b"nonsense" * 10)]))
    with pytest.raises(EOFError):
        opener.until("end")
    assert [type(error) for error in opener.raised] == [PartDamaged]


def test_what_follows_the_end_of_a_part_is_given_back(opener: Owner, chunks: SharedBuffers) -> None:
    """Bytes after the age file: whether they are refused or not, no buffer is lost."""
    pieces = [*sealed_pieces(chunks, b"x"), put(chunks, 4, b"more")]
    opener.inbox.send(("pool", 0, pieces))
    with pytest.raises(EOFError):
        opener.until("end")
    assert [type(error) for error in opener.raised] == [PartDamaged]


class TestProcess:
    """The frame around what a worker does, in a thread: signals are for the main one alone."""

    @pytest.fixture(autouse=True)
    def no_signals(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        exits: list[int] = []
        monkeypatch.setattr("zrb.stream.workers.signal.signal", lambda *_: None)
        monkeypatch.setattr("zrb.stream.workers.os._exit", exits.append)
        return exits

    def run(self, main: Callable[[WorkerSide], None]) -> tuple[Owner, Any]:
        foreign, other = multiprocessing.Pipe(duplex=False)
        owner = Owner(lambda side: _run(main, side, [foreign]), free=0)
        owner._thread.join()
        assert foreign.closed, "ends that belong to others are closed"
        other.close()
        return owner, owner.outbox

    def test_an_error_is_sent_to_the_owner(self, no_signals: list[int]) -> None:
        error = BadRecipient("no", next_step="Give one")

        def main(_side: WorkerSide) -> None:
            raise error

        owner, outbox = self.run(main)
        kind, came = outbox.recv()
        assert (kind, type(came), came.explain()) == ("error", BadRecipient, error.explain())
        owner.close()
        assert (owner.raised, no_signals) == ([], [])

    @pytest.mark.parametrize("gone", [EOFError, BrokenPipeError])
    def test_an_owner_that_is_gone_is_the_end_without_a_word(
        self, no_signals: list[int], gone: type[Exception]
    ) -> None:
        def main(_side: WorkerSide) -> None:
            raise gone

        owner, _ = self.run(main)
        owner.close()
        assert (owner.raised, no_signals) == ([], [0])
