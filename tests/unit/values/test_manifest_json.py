# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON of manifests: what is written can be read, and nothing else can."""

from __future__ import annotations

import hashlib
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
from zrb.values.manifest import Manifest, ManifestDataset
from zrb.values.manifest_json import decode_manifest, encode_manifest

from tests.docs.schema import schemas
from tests.fixtures.patched import patched
from tests.fixtures.sample_manifests import sample_manifest

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "tests/vectors/manifest.json").read_text(encoding="utf-8"))
"""A payload, and for every other one by name which fields differ (JSON pointers): from that payload or from a good one.
A good one has the SHA-256 of its canonical form, a bad one the reason for its refusal."""
SCHEMA = Draft202012Validator(schemas()["manifest.schema.json"])


def payload_of(vector: dict[str, Any]) -> dict[str, Any]:
    """The payload that a vector stands for."""
    start = vector.get("from")
    payload: dict[str, Any] = patched(payload_of(VECTORS["good"][start]) if start else VECTORS["base"], vector)
    return payload


@pytest.mark.parametrize("name", VECTORS["good"])
def test_good_vectors_are_read_and_written_alike(name: str) -> None:
    vector = VECTORS["good"][name]
    record = payload_of(vector)
    manifest = decode_manifest(json.dumps(record).encode())
    payload = encode_manifest(manifest)
    assert hashlib.sha256(payload).hexdigest() == vector["sha256"]
    assert json.loads(payload) == record
    assert decode_manifest(payload) == manifest
    SCHEMA.validate(record)


@pytest.mark.parametrize("name", VECTORS["bad"])
def test_bad_vectors_are_refused_with_their_reason(name: str) -> None:
    vector = VECTORS["bad"][name]
    record = payload_of(vector)
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(json.dumps(record).encode())
    assert vector["reason"] in caught.value.problem
    assert caught.value.next_step
    assert SCHEMA.is_valid(record) != vector["schema_refuses"]


def test_no_two_vectors_are_one() -> None:
    payloads = [json.dumps(payload_of(vector)) for kind in ("good", "bad") for vector in VECTORS[kind].values()]
    assert len(set(payloads)) == len(payloads) >= 96


@pytest.mark.parametrize("name", schemas())
def test_the_published_schema_is_the_generated_one(name: str) -> None:
    Draft202012Validator.check_schema(schemas()[name])
    assert json.loads((ROOT / "docs" / name).read_text(encoding="utf-8")) == schemas()[name], "make schema"


def fields_of(record: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = record.items() if isinstance(record, dict) else enumerate(record) if isinstance(record, list) else ()
    return [path] + [place for name, child in children for place in fields_of(child, (*path, name))]


@pytest.mark.parametrize("value", [None, True, -1, 2**63, 1.5, "", "\x00", [], {}, "x" * 2000])
def test_schema_and_reader_agree_on_every_field(value: Any) -> None:
    """Whatever stands in whatever field: what the schema refuses, the reader refuses too."""
    original = payload_of(VECTORS["good"]["level-1"])
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
        (b"[]", "is not a JSON object"),
        (PAYLOAD + PAYLOAD, "is not valid JSON"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":1,"seq":1'), "names 'seq' twice"),
        (PAYLOAD.replace(b'"guid":"42"', b'"guid":"42","guid":"43"'), "names 'guid' twice"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":1.0'), "only whole numbers"),
        (PAYLOAD.replace(b'"seq":1', b'"seq":' + b"9" * 4000), "field seq"),
        (PAYLOAD.replace(b'"ops"', b'"\\ud800"'), "field job.user that holds text that is not Unicode"),
        (b'{"format":7}', "The format is 7, and this is zrb"),
        (b'{"format":0}', "lacks"),
    ],
)
def test_bytes_that_two_readers_could_take_differently_are_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(payload)
    assert reason in caught.value.problem


def test_a_newer_format_names_the_version_that_is_needed() -> None:
    with pytest.raises(ManifestInvalid) as caught:
        decode_manifest(PAYLOAD.replace(b'"format":1', b'"format":2'))
    assert "format 2" in caught.value.next_step


def test_an_oversized_payload_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_json, "MAX_PAYLOAD_BYTES", len(PAYLOAD) - 1)
    with pytest.raises(ManifestInvalid, match=f"{len(PAYLOAD)} bytes.* {len(PAYLOAD) - 1}"):
        decode_manifest(PAYLOAD)
    with pytest.raises(ManifestInvalid, match="at most"):
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
    with pytest.raises(ManifestInvalid, match="time zone"):
        encode_manifest(replace(manifest, created=datetime(2026, 1, 31)))  # noqa: DTZ001 - that is the point
    with pytest.raises(ManifestInvalid, match="Unicode"):
        encode_manifest(replace(manifest, properties={"org.example:x": "\udcff"}))
    with pytest.raises(ManifestInvalid, match="has 2 parts"):
        encode_manifest(replace(manifest, parts=replace(manifest.parts, count=2)))
    with pytest.raises(ManifestInvalid, match="field chain"):
        encode_manifest(replace(manifest, chain="x"))


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
