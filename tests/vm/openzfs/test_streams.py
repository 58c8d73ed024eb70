# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is sent, and that it comes back: large and compressed blocks, unusual properties, estimates, volumes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from zrb.values.config import KIB, MIB
from zrb.zfs.real_zfs import RealZfs
from zrb.zfs.stream_records import RECORD_BYTES, parse_begin

from tests.fixtures.file_tree import describe_tree
from tests.integration.nas_fixtures import Nas
from tests.integration.zfs_fixtures import command
from tests.vm.openzfs.production import (
    WrappingKey,
    change,
    create,
    fill,
    read_volume,
    stored_stream,
    stream_summary,
    value,
    volume_device,
)

pytestmark = pytest.mark.zfs

LARGE_BLOCKS = 1 << 19  # DMU_BACKUP_FEATURE_* of OpenZFS' zfs_ioctl.h
COMPRESSED = 1 << 22
LARGE_DNODE = 1 << 23
RAW = 1 << 24
ZSTD = 1 << 25

UNUSUAL = {
    "xattr": "sa",
    "dnodesize": "auto",
    "acltype": "posixacl",
    "atime": "off",
    "normalization": "formD",
    "casesensitivity": "mixed",
    "copies": "2",
    "redundant_metadata": "most",
    "sync": "always",
    "checksum": "sha512",
}


def features_of(stream: bytes) -> int:
    return parse_begin(stream[:RECORD_BYTES]).features


@pytest.mark.parametrize(("compression", "expected"), [("lz4", COMPRESSED), ("zstd", COMPRESSED | ZSTD)])
def test_large_compressed_blocks_full_and_incremental(local_nas: Nas, compression: str, expected: int) -> None:
    create(local_nas.dataset.name, recordsize="1M", compression=compression, dedup="off")
    fill(local_nas)
    compressible = local_nas.dataset.mountpoint / "compressible"
    compressible.write_bytes(b"the same words again and again\n" * (3 * MIB // 31))
    full = local_nas.back_up(0).manifest
    compressible.write_bytes(b"other words, still the same ones\n" * (2 * MIB // 33))
    files = change(local_nas)
    increment = local_nas.back_up(1).manifest

    assert full.send.flags == increment.send.flags == ("-L", "-c")
    for manifest in (full, increment):
        features = features_of(stored_stream(local_nas, manifest))
        assert features & (expected | LARGE_BLOCKS) == expected | LARGE_BLOCKS
    # What the disk holds compressed travels compressed.
    assert full.stream.bytes < sum(item.get("size", 0) for item in files.values())
    assert local_nas.restore().warnings == ()
    local_nas.assert_restored(local_nas.target(), files)


def test_unusual_properties_and_what_depends_on_them(local_nas: Nas) -> None:
    create(local_nas.dataset.name, **UNUSUAL)
    directory = local_nas.dataset.mountpoint
    for number in range(20):
        file = directory / f"file {number}"
        file.write_bytes(os.urandom(1000 * number))
        os.setxattr(file, "user.zrb.large", os.urandom(300))
    command("setfacl", "-m", "u:12345:r--", str(directory / "file 7"))
    acl = command("getfacl", "--omit-header", "--numeric", str(directory / "file 7"))
    full = local_nas.back_up(0).manifest
    (directory / "file 3").unlink()
    local_nas.back_up(1)
    files = describe_tree(directory)

    assert features_of(stored_stream(local_nas, full)) & LARGE_DNODE
    target = local_nas.restore().target
    local_nas.assert_restored(target, files)
    # Fixed when a dataset is created: they travel in the stream, and files depend on them.
    assert value(target, "normalization") == "formD"
    assert value(target, "casesensitivity") == "mixed"
    place = local_nas.root / "look"
    place.mkdir()
    command("zfs", "set", f"mountpoint={place}", target)
    command("zfs", "mount", target)
    restored = command("getfacl", "--omit-header", "--numeric", str(place / "file 7"))
    command("zfs", "unmount", target)
    assert restored == acl
    assert "user:12345:r--" in restored


def test_estimates_are_within_two_percent_of_the_stream(local_nas: Nas) -> None:
    zfs = RealZfs()
    big = local_nas.dataset.mountpoint / "big"
    big.write_bytes(os.urandom(8 * MIB))
    full = local_nas.back_up(0).manifest
    with big.open("r+b") as file:
        file.write(os.urandom(4 * MIB))
    increment = local_nas.back_up(1).manifest

    for manifest, base in ((full, None), (increment, full.snapshot.name)):
        estimate = zfs.estimate_bytes(manifest.snapshot.name, base=base, flags=manifest.send.flags)
        assert estimate is not None
        assert abs(estimate - manifest.stream.bytes) <= manifest.stream.bytes * 0.02


@pytest.mark.parametrize("kind", ["plain", "large blocks", "encrypted", "volume"])
def test_zstream_dump_accepts_every_stored_stream(local_nas: Nas, tmp_path: Path, kind: str) -> None:
    name = local_nas.dataset.name
    if kind == "volume":
        command("zfs", "destroy", name)
        command("zfs", "create", "-s", "-V", "16M", name)
        volume_device(name).write_bytes(os.urandom(MIB))
    else:
        properties = {"plain": {}, "large blocks": {"recordsize": "1M"}, "encrypted": {}}[kind]
        if kind == "encrypted":
            properties = WrappingKey.make(tmp_path).properties
        create(name, **properties)
        fill(local_nas)
    full = local_nas.back_up(0).manifest
    if kind == "volume":
        with volume_device(name).open("r+b") as device:
            device.seek(512 * KIB)
            device.write(os.urandom(256 * KIB))
    else:
        change(local_nas)
    increment = local_nas.back_up(1).manifest

    for manifest in (full, increment):
        stream = stored_stream(local_nas, manifest)
        assert len(stream) == manifest.stream.bytes
        assert "Total DRR_END records = 1" in stream_summary(stream)
        assert bool(features_of(stream) & RAW) == (kind == "encrypted")


def test_zstream_dump_refuses_a_changed_stream(local_nas: Nas) -> None:
    """The proof above can fail: one bit, and the checksum of its record is wrong."""
    fill(local_nas)
    stream = bytearray(stored_stream(local_nas, local_nas.back_up(0).manifest))
    stream[len(stream) // 2] ^= 1
    with pytest.raises(AssertionError):
        stream_summary(bytes(stream))


@pytest.mark.parametrize("thickness", ["sparse", "thick"])
def test_volumes(local_nas: Nas, thickness: str) -> None:
    name = local_nas.dataset.name
    command("zfs", "destroy", name)
    command("zfs", "create", *(["-s"] if thickness == "sparse" else []), "-V", "24M", "-o", "volblocksize=16K", name)
    content = bytearray(os.urandom(2 * MIB))
    volume_device(name).write_bytes(content)
    full = local_nas.back_up(0).manifest
    content[MIB : MIB + 64 * KIB] = os.urandom(64 * KIB)
    with volume_device(name).open("r+b") as device:
        device.seek(MIB)
        device.write(content[MIB : MIB + 64 * KIB])
    increment = local_nas.back_up(1).manifest

    assert full.dataset.type == increment.dataset.type == "volume"
    assert increment.stream.bytes < full.stream.bytes / 2
    target = local_nas.restore().target
    assert value(target, "type") == "volume"
    assert (value(target, "volsize"), value(target, "volblocksize")) == (str(24 * MIB), str(16 * KIB))
    assert read_volume(target, len(content)) == content
    assert read_volume(target, 24 * MIB)[len(content) :].strip(b"\0") == b""
