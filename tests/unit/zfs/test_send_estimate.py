# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes from properties: for snapshots that are not taken yet, and for a ZFS that cannot estimate a stream."""

from __future__ import annotations

from zrb.zfs.real_zfs import RealZfs

from tests.unit.zfs.scripted import OPENZFS, ScriptedLine, failed, said

GET = "zfs get -H -p -o value"


def test_a_full_stream_is_what_is_referenced_in_the_form_it_is_sent_in() -> None:
    zfs = RealZfs(
        ScriptedLine({f"{GET} referenced tank/a": said("500\n"), f"{GET} logicalreferenced tank/a": said("900\n")})
    )
    assert zfs.changed_bytes("tank/a", base=None, flags=("-L", "-c")) == 500
    assert zfs.changed_bytes("tank/a", base=None, flags=("-w",)) == 500
    assert zfs.changed_bytes("tank/a", base=None, flags=("-L",)) == 900


def test_a_zfs_without_logical_sizes() -> None:
    invalid = failed("bad property list: invalid property 'logicalreferenced'\n", status=2)
    zfs = RealZfs(
        ScriptedLine({f"{GET} logicalreferenced tank/a@one": invalid, f"{GET} referenced tank/a@one": said("500\n")})
    )
    assert zfs.changed_bytes("tank/a@one", base=None, flags=()) == 500


def test_an_increment_is_what_was_written_since_the_base() -> None:
    script = {f"{GET} written@zero tank/a": said("70\n"), f"{GET} written#mark tank/a@one": said("-\n")}
    zfs = RealZfs(ScriptedLine({**OPENZFS, **script}))
    assert zfs.changed_bytes("tank/a", base="tank/a@zero", flags=("-L", "-c")) == 70
    assert zfs.changed_bytes("tank/a@one", base="tank/a#mark", flags=("-L", "-c")) is None
