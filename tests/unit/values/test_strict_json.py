# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""JSON from strangers: refused if two readers could take it differently, at a cost that its length bounds."""

from __future__ import annotations

import json
import sys
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from zrb.values.strict_json import canonical_json, parse_object

MIB = 1 << 20
RECORD = b'{"a":{"b":[1,"x"]}}'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not valid JSON"),
        (b"null", "not a JSON object"),
        (b"[]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"\xef\xbb\xbf" + RECORD, "byte order mark"),
        (RECORD.decode().encode("utf-16"), "not valid UTF-8 at byte 0"),
        (b'{"a":"\xff"}', "not valid UTF-8 at byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "not valid UTF-8"),  # a surrogate in UTF-8
        (RECORD[:-1], "not valid JSON"),
        (RECORD + RECORD, "not valid JSON"),
        (RECORD + b"\x00", "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":"\n"}', "not valid JSON"),
        (b'{"a":1,"a":1}', "names 'a' twice"),
        (b'{"a":{"b":1,"c":2,"b":3}}', "names 'b' twice"),
        (b'{"a":1,"\\u0061":1}', "names 'a' twice"),
        (b'{"a":1.0}', "number 1.0"),
        (b'{"a":1e400}', "number 1e400"),
        (b'{"a":NaN}', "number NaN"),
        (b'{"a":Infinity}', "number Infinity"),
        (b'{"a":-Infinity}', "number -Infinity"),
        (b'{"a":' + b"9" * 100_000 + b"}", "thousands of digits"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else None,
)
def test_what_two_readers_could_take_differently_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_object(data, limit=MIB)


def test_the_limit_counts_bytes() -> None:
    assert parse_object(RECORD, limit=len(RECORD))
    with pytest.raises(ValueError, match=f"{len(RECORD)} bytes.* {len(RECORD) - 1}"):
        parse_object(RECORD, limit=len(RECORD) - 1)


def filled(begin: str, piece: str, end: str) -> bytes:
    """A document of 1 MiB that repeats ``piece``."""
    count = (MIB - len(begin) - len(end)) // len(piece)
    return (begin + piece * count + end).encode()


def names(count: int) -> str:
    return ",".join(f'"{number:x}":0' for number in range(count))


HOSTILE = {
    "many names, and one of them twice": f'{{{names(100_000)},"1869f":1}}'.encode(),
    "many names, and the first one twice": f'{{{names(100_000)},"0":1}}'.encode(),
    "one name": filled("{", '"":0,', '"":0}'),
    "names of which each stands twice": f"{{{names(50_000)},{names(50_000)}}}".encode(),
    "objects in an object": ("[{" + ",".join(f'"{number:x}":{{}}' for number in range(95_000)) + "}]").encode(),
    "short lists": filled("[", "[],", "[]]"),
    "short objects": filled("[", "{},", "{}]"),
    "short texts": filled("[", '"",', '""]'),
    "short numbers": filled("[", "1,", "1]"),
    "numbers that are as long as Python reads": filled("[", "9" * 4300 + ",", "1]"),
    "deep lists": b"[" * MIB,
    "deep objects": filled("", '{"":', ""),
    "deep, and closed": b"[" * (MIB // 2) + b"]" * (MIB // 2),
    "a long number": b"[" + b"9" * (MIB - 2) + b"]",
    "a long fraction": b"[1." + b"0" * (MIB - 4) + b"]",
    "a long exponent": b"[1e" + b"9" * (MIB - 4) + b"]",
    "a long text": b'"' + b"x" * (MIB - 2) + b'"',
    "a text that does not end": b'"' + b"x" * (MIB - 1),
    "a text of escapes": filled('"', "\\u0000", '"'),
    "surrogates": filled("[", '"\\ud800",', '""]'),
    "no numbers": filled("[", "NaN,", "1]"),
    "blanks": b" " * MIB,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_documents_cost_no_more_than_their_length(name: str) -> None:
    """Steps of the interpreter are counted, and bytes: neither depends on the machine."""
    data = HOSTILE[name]
    assert len(data) <= MIB
    steps = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal steps
        steps += 1

    tracemalloc.start()
    sys.setprofile(count)
    try:
        with pytest.raises(ValueError, match=r"names|not a JSON object|not valid JSON|nested|number"):
            parse_object(data, limit=MIB)
    finally:
        sys.setprofile(None)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert steps < 3 * len(data)
    assert peak < 32 * len(data)


@settings(max_examples=50)
@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())))
def test_what_is_written_is_read_and_has_one_form(record: dict[str, object]) -> None:
    try:
        data = canonical_json(record)
    except ValueError:
        assert "\\ud" in json.dumps(record)
        return
    assert parse_object(data, limit=MIB) == record
    assert canonical_json(dict(reversed(record.items()))) == data
    assert b"\n" not in data
