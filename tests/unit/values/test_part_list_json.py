# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a list of parts, and what has to hold between them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from zrb.values.manifest import Checksum, Part
from zrb.values.part_list_json import MAX_LINE_BYTES, checked_parts, count_parts, decode_part, encode_part

from tests.docs.schema import schemas
from tests.fixtures.patched import patched
from tests.fixtures.sample_manifests import sample_manifest, sample_parts

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/parts.json").read_text(encoding="utf-8"))
"""A list with what its manifest says of the stream; for every bad one what is different, and why it is refused."""
SCHEMA = Draft202012Validator(schemas()["part.schema.json"])


def read(record: dict[str, Any]) -> list[Part]:
    """The parts of a list, read line by line."""
    lines = [json.dumps(part).encode() + b"\n" for part in record["parts"]]
    parts = map(decode_part, lines)
    return list(
        checked_parts(
            parts, prefix=record["prefix"], part_size=record["part_size"], stream_bytes=record["stream_bytes"]
        )
    )


def test_the_good_vector_is_read_and_written_alike() -> None:
    written = b"".join(map(encode_part, read(VECTORS["base"])))
    assert hashlib.sha256(written).hexdigest() == VECTORS["sha256"]
    assert [json.loads(line) for line in written.splitlines()] == VECTORS["base"]["parts"]
    for part in VECTORS["base"]["parts"]:
        SCHEMA.validate(part)


@pytest.mark.parametrize("name", VECTORS["bad"])
def test_bad_vectors_are_refused_with_their_reason(name: str) -> None:
    vector = VECTORS["bad"][name]
    record = patched(VECTORS["base"], vector)
    assert record != VECTORS["base"]
    with pytest.raises(ValueError) as caught:
        read(record)
    assert vector["reason"] in str(caught.value)
    if not all(map(SCHEMA.is_valid, record["parts"])):
        assert not vector["reason"].startswith(("gives", "ends")), "the schema refuses what the fields' rules refuse"


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"null\n", b"[]\n", b"{}\n", b"{}", b"\xff\n", b" " * MAX_LINE_BYTES + b"{}\n", b"{}{}\n"]
)
def test_a_line_that_is_none(line: bytes) -> None:
    with pytest.raises(ValueError):
        decode_part(line)


def test_a_line_without_its_end() -> None:
    line = encode_part(sample_parts(sample_manifest())[0])
    assert decode_part(line)
    with pytest.raises(ValueError, match="does not end"):
        decode_part(line[:-1])


LINES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=1024)


@given(
    st.builds(
        Part,
        index=st.integers(0, 999_999),
        key=st.from_regex(r"data/[A-Za-z0-9._%-]{1,986}/snapshot\.part-[0-9]{6}\.age", fullmatch=True),
        plain_bytes=st.integers(1, 2**63 - 1),
        plain_blake3=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        bytes=st.integers(1, 2**63 - 1),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        checksum=st.builds(
            Checksum,
            kind=st.sampled_from(["sha256", "none", "crc64"]),
            value=LINES,
            etag=LINES,
        ),
    )
)
def test_every_part_survives_the_round_trip_on_one_line_that_is_not_too_long(part: Part) -> None:
    line = encode_part(part)
    assert decode_part(line) == part
    assert line.count(b"\n") == 1
    assert len(line) <= MAX_LINE_BYTES
    SCHEMA.validate(json.loads(line))


@given(st.integers(1, 50), st.integers(1, 400), st.data())
def test_parts_that_were_moved_dropped_or_doubled_are_refused(part_size: int, length: int, data: st.DataObject) -> None:
    sizes = [min(part_size, length - offset) for offset in range(0, length, part_size)]
    assert len(sizes) == count_parts(length, part_size)
    manifest = sample_manifest(sizes=sizes)
    parts = sample_parts(manifest, sizes)
    prefix = manifest.series.data_prefix(manifest.backup_id, manifest.level)
    facts: dict[str, Any] = {"prefix": prefix, "part_size": part_size, "stream_bytes": length}
    assert list(checked_parts(parts, **facts)) == parts
    position = data.draw(st.integers(0, len(parts) - 1))
    dropped = parts[:position] + parts[position + 1 :]
    doubled = [*parts[: position + 1], *parts[position:]]
    moved = data.draw(st.permutations(parts))
    for changed in (dropped, doubled, moved):
        if changed != parts:
            with pytest.raises(ValueError):
                list(checked_parts(changed, **facts))
