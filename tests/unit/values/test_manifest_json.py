# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON of manifests: what is written can be read, and nothing else can."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from zrb.errors import ManifestInvalid
from zrb.values import manifest_json
from zrb.values.manifest import Checksum, Manifest, ManifestDataset, Part
from zrb.values.manifest_json import decode_manifest, decode_part, encode_manifest, encode_part

from tests.fixtures.sample_manifests import sample_manifest

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests/vectors/manifest"
GOOD = sorted((VECTORS / "good").glob("*.json"))
BAD = sorted((VECTORS / "bad").glob("*.json"))
SCHEMA = Draft202012Validator(json.loads((ROOT / "docs/manifest.schema.json").read_text()))


def by_name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", GOOD, ids=by_name)
def test_good_vectors_are_read_and_written_alike(path: Path) -> None:
    record = json.loads(path.read_text())
    manifest = decode_manifest(path.read_bytes())
    assert json.loads(encode_manifest(manifest)) == record
    assert decode_manifest(encode_manifest(manifest)) == manifest
    SCHEMA.validate(record)


@pytest.mark.parametrize("path", BAD, ids=by_name)
def test_bad_vectors_are_refused_with_their_reason(path: Path) -> None:
    vector = json.loads(path.read_text())
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(json.dumps(vector["payload"]).encode())
    assert vector["reason"] in caught.value.problem
    assert caught.value.next_step
    assert SCHEMA.is_valid(vector["payload"]) != vector["schema_refuses"]


def test_there_are_vectors() -> None:
    assert len(GOOD) >= 9
    assert len(BAD) >= 80


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA.schema)


def fields_of(record: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return [path] + [place for name, child in children for place in fields_of(child, (*path, name))]


@pytest.mark.parametrize("value", [None, True, -1, 2**63, 1.5, "", "\x00", [], {}, "x" * 2000])
def test_schema_and_reader_agree_on_every_field(value: Any) -> None:
    """Whatever stands in whatever field: what the schema refuses, the reader refuses too."""
    original = json.loads((VECTORS / "good/level-1.json").read_text())
    for path in fields_of(original)[1:]:
        record = json.loads(json.dumps(original))
        *above, last = path
        parent = record
        for name in above:
            parent = parent[name]
        parent[last] = value
        if not SCHEMA.is_valid(record):
            with pytest.raises(ManifestInvalid):
                decode_manifest(json.dumps(record).encode())


PAYLOAD = encode_manifest(sample_manifest())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "is not valid JSON at character 0"),
        (b"null", "is not a JSON object"),
        (b"[]", "is not a JSON object"),
        (b"\xef\xbb\xbf" + PAYLOAD, "begins with a byte order mark"),
        (PAYLOAD.decode().encode("utf-16"), "is not valid UTF-8 at byte 0"),
        (PAYLOAD.replace(b"ops", b"\xff"), "is not valid UTF-8 at byte"),
        (PAYLOAD[:-1], "is not valid JSON at character"),
        (PAYLOAD + PAYLOAD, "is not valid JSON at character"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":1,"seq":1'), "names 'seq' twice in one object"),
        (PAYLOAD.replace(b'"guid":"42"', b'"guid":"42","guid":"43"'), "names 'guid' twice in one object"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":1.0'), "holds the number 1.0, and only whole numbers"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":1e400'), "holds the number 1e400"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":NaN'), "holds the number NaN"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":-Infinity'), "holds the number -Infinity"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":' + b"9" * 100_000), "holds a number of 100000 digits"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":' + b"[" * 10_000 + b"]" * 10_000), "is nested too deeply"),
        (PAYLOAD.replace(b'"ops"', b'"\\ud800"'), "has a field job.user that is not text"),
        (b'{"format":7}', "The format is 7, and this is zrb"),
        (b'{"format":0}', "does not say that its format is 1"),
    ],
)
def test_bytes_that_two_readers_could_take_differently_are_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(payload)
    assert reason in caught.value.problem


def test_a_newer_format_names_the_version_that_is_needed() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(PAYLOAD.replace(b'"format":1', b'"format":2'))
    assert caught.value.next_step == "Use a version of zrb that reads format 2"


def test_an_oversized_payload_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_json, "MAX_PAYLOAD_BYTES", len(PAYLOAD) - 1)
    with pytest.raises(ManifestInvalid, match=f"has {len(PAYLOAD)} bytes, and {len(PAYLOAD) - 1} is the most"):
        decode_manifest(PAYLOAD)
    with pytest.raises(ManifestInvalid, match="is the most that is read"):
        encode_manifest(sample_manifest())


def test_the_written_form_is_sorted_compact_utf8() -> None:
    record = json.loads(PAYLOAD)
    assert json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() == PAYLOAD
    assert "täglich".encode() in PAYLOAD


def test_times_are_written_in_utc_and_whole_seconds() -> None:
    moment = datetime(2026, 1, 31, 3, 0, 0, 999, tzinfo=timezone(timedelta(hours=1)))
    manifest = decode_manifest(encode_manifest(replace(sample_manifest(), created=moment)))
    assert manifest.created == datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
    assert manifest.created.tzinfo is UTC


def test_nothing_is_written_that_would_be_refused_later() -> None:
    manifest = sample_manifest()
    with pytest.raises(ManifestInvalid, match="holds a time without a time zone"):
        encode_manifest(replace(manifest, created=datetime(2026, 1, 31)))  # noqa: DTZ001 - that is the point
    with pytest.raises(ManifestInvalid, match=r"holds text that is not Unicode \('\\udcff'\)"):
        encode_manifest(replace(manifest, properties={"org.example:x": "\udcff"}))
    with pytest.raises(ManifestInvalid, match="bytes together, and a stream of 207"):
        encode_manifest(replace(manifest, parts=manifest.parts[:2]))
    with pytest.raises(ManifestInvalid, match="has a field chain that is not a backup id"):
        encode_manifest(replace(manifest, chain="x"))


def test_parts_are_read_and_written_alone() -> None:
    part = sample_manifest().parts[1]
    assert decode_part(json.loads(json.dumps(encode_part(part)))) == part
    with pytest.raises(ManifestInvalid, match="it has a field plain_bytes that is not a whole number"):
        decode_part({**encode_part(part), "plain_bytes": "7"})
    with pytest.raises(ManifestInvalid, match="it is not an object"):
        decode_part(None)


NAMES = st.from_regex(r"[A-Za-z0-9_.: -]{1,20}", fullmatch=True)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    size = draw(st.integers(1, 2**40))
    sizes = [size] * draw(st.integers(0, 4)) + [draw(st.integers(1, size))]
    dataset = "/".join(["tank", *draw(st.lists(NAMES, max_size=3))])
    base = draw(st.sampled_from([None, sample_manifest(1)]))
    return sample_manifest(
        2 if base else 1,
        level=1 if base else 0,
        base=base,
        sizes=sizes,
        dataset=ManifestDataset(dataset, "4242", draw(st.sampled_from(["filesystem", "volume"])), draw(st.booleans())),
        snapshot=replace(sample_manifest().snapshot, name=f"{dataset}@{draw(NAMES)}", guid=str(2**64 - 1)),
        properties=draw(st.dictionaries(NAMES, st.text())),
        host=draw(NAMES),
    )


@given(manifests())
def test_every_manifest_survives_the_round_trip(manifest: Manifest) -> None:
    payload = encode_manifest(manifest)
    assert decode_manifest(payload) == manifest
    SCHEMA.validate(json.loads(payload))


@given(manifests(), st.data())
def test_parts_that_were_moved_dropped_or_doubled_are_refused(manifest: Manifest, data: st.DataObject) -> None:
    record = json.loads(encode_manifest(manifest))
    parts = record["parts"]
    position = data.draw(st.integers(0, len(parts) - 1))
    dropped = parts[:position] + parts[position + 1 :]
    doubled = [*parts[: position + 1], *parts[position:]]
    moved = data.draw(st.permutations(parts))
    for changed in (dropped, doubled, moved):
        if changed != parts:
            with pytest.raises(ManifestInvalid):
                decode_manifest(json.dumps({**record, "parts": changed}).encode())


@given(
    st.builds(
        Part,
        index=st.integers(0, 999_999),
        key=NAMES,
        plain_bytes=st.integers(0, 2**63 - 1),
        plain_blake3=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        bytes=st.integers(0, 2**63 - 1),
        sha256=st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
        checksum=st.builds(Checksum, kind=st.sampled_from(["sha256", "none", "etag"]), value=NAMES | st.just("")),
    )
)
def test_every_part_survives_the_round_trip(part: Part) -> None:
    assert decode_part(json.loads(json.dumps(encode_part(part)))) == part
