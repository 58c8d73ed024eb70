# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commands that are run, and what is made of the answers, where a real OpenZFS would be needed to see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from os import geteuid
from pathlib import Path
from pwd import getpwuid

import pytest
from zrb.errors import (
    EngineError,
    NoSuchDataset,
    NoSuchSnapshot,
    ReceiveFailed,
    SendFailed,
    TargetExists,
    UsageError,
    ZfsDenied,
    ZfsError,
    ZfsUnable,
)
from zrb.values.zfs import Bookmark, Dataset, Pool, Snapshot
from zrb.zfs.child_processes import Ended
from zrb.zfs.protected_receive import receive_options
from zrb.zfs.real_zfs import RealZfs
from zrb.zfs.snapshotting import common_ancestor

from tests.fakes import zfs as fakes
from tests.unit.zfs.scripted import OK, OPENZFS, ZFS_FUSE, ScriptedLine, failed, said

POINTS = "type,guid,createtxg,creation,userrefs,zrb:taken-as"
GET_POINTS = "zfs get -H -p"
COLUMNS = f"-o name,property,value,source {POINTS}"
TIME = datetime(2026, 1, 1, tzinfo=UTC)
KINDS = "-t filesystem,volume,snapshot,bookmark"
INVENTORY = f"{GET_POINTS} -r -d 1 {KINDS} {COLUMNS},written,encryption tank/a"
ITSELF = "tank/a\ttype\tfilesystem\t-\ntank/a\tguid\t7\t-\ntank/a\tencryption\toff\tdefault\n"


def point(name: str, kind: str, guid: int, txg: int, holds: str = "0", written: str = "-", mark: str = "-\t-") -> str:
    facts = {"type": kind, "guid": guid, "createtxg": txg, "creation": int(TIME.timestamp()), "userrefs": holds}
    facts |= {"written": written}
    rows = "".join(f"{name}\t{key}\t{value}\t-\n" for key, value in facts.items())
    return f"{rows}{name}\tzrb:taken-as\t{mark}\n"


def openzfs(answers: dict[str, Ended]) -> tuple[RealZfs, ScriptedLine]:
    line = ScriptedLine({**OPENZFS, **answers})
    return RealZfs(line), line


def zfs_fuse(answers: dict[str, Ended]) -> tuple[RealZfs, ScriptedLine]:
    line = ScriptedLine({**ZFS_FUSE, **answers})
    return RealZfs(line), line


def read_of(name: str, answer: Ended) -> dict[str, Ended]:
    return {f"zfs get -H -p -o property,value type,guid,encryption {name}": answer}


def described(snapshot: str = "tank/a@1", **local: str) -> str:
    """What ``zfs get all`` prints of a snapshot and its dataset; ``local`` are properties that were set."""
    dataset = snapshot.partition("@")[0]
    natives = {"type": "filesystem", "atime": "on", "mountpoint": "/tank/a", "quota": "0"}
    rows = [line.split("\t") for line in point(snapshot, "snapshot", 7, 8).splitlines()]
    text = "".join(f"{name}\t{key}\t{source}\t{value}\n" for name, key, value, source in rows)
    for name, value in {**natives, **local}.items():
        text += f"{dataset}\t{name}\t{'local' if name in local else 'default'}\t{value}\n"
    return text


class TestReading:
    def test_an_encrypted_volume(self) -> None:
        zfs, _ = openzfs(read_of("tank/v", said("type\tvolume\nguid\t17\nencryption\taes-256-gcm\n")))
        assert zfs.dataset("tank/v") == Dataset("tank/v", "17", "volume", encrypted=True)

    def test_a_plain_filesystem(self) -> None:
        zfs, _ = openzfs(read_of("tank/a", said("type\tfilesystem\nguid\t17\nencryption\toff\n")))
        assert zfs.dataset("tank/a") == Dataset("tank/a", "17", "filesystem", encrypted=False)

    def test_what_is_neither_filesystem_nor_volume(self) -> None:
        zfs, _ = openzfs(read_of("tank/a", said("type\tpool\nguid\t17\n")))
        with pytest.raises(UsageError, match="tank/a is a pool"):
            zfs.dataset("tank/a")

    def test_capabilities_are_probed_once(self) -> None:
        zfs, line = openzfs({})
        assert zfs.capabilities == zfs.capabilities
        assert line.asked == ["zfs version"]

    def test_snapshots_are_listed_by_type_and_sorted_by_txg(self) -> None:
        output = point("tank/a@b", "snapshot", 2, 20, "3", "512") + point("tank/a@a", "snapshot", 1, 10)
        zfs, _ = openzfs({INVENTORY: said(ITSELF + output)})
        assert zfs.snapshots("tank/a") == [
            Snapshot("tank/a@a", "1", 10, TIME, 0),
            Snapshot("tank/a@b", "2", 20, TIME, 3, 512),
        ]

    @pytest.mark.parametrize(
        ("name", "mark", "ours"),
        [
            ("zrb_level0_20260101T000000Z", "zrb_level*_20260101T000000Z\tlocal", True),
            ("zrb_level3_20260101T000000Z", "zrb_level*_20260101T000000Z\tlocal", True),
            ("zrb_level0_20260101T000000Z", "zrb_level*_20260101T000000Z\tinherited from tank/a", False),
            ("zrb_level0_20260101T000000Z", "zrb_level*_20260101T000000Z\treceived", False),
            ("zrb_level0_20260101T000000Z", "zrb_level*_20260101T000001Z\tlocal", False),
            ("mine_level0_20260101T000000Z", "zrb_level*_20260101T000000Z\tlocal", False),
            ("zrb_level0_20260101T000000Z", "-\t-", False),
            ("before", "before\tlocal", True),
        ],
    )
    def test_a_snapshot_is_ours_as_long_as_it_has_the_name_that_we_gave_it(
        self, name: str, mark: str, ours: bool
    ) -> None:
        zfs, _ = openzfs({INVENTORY: said(ITSELF + point(f"tank/a@{name}", "snapshot", 1, 10, mark=mark))})
        assert [snapshot.ours for snapshot in zfs.snapshots("tank/a")] == [ours]

    def test_a_value_that_looks_like_another_property_is_refused(self) -> None:
        forged = "x\tlocal\ntank/a@a\tguid\t77\t-\ntank/a@a\tother:one\ty\tlocal"
        zfs, _ = openzfs({INVENTORY: said(ITSELF + point("tank/a@a", "snapshot", 1, 10, mark=forged))})
        with pytest.raises(ZfsError, match="guid"):
            zfs.snapshots("tank/a")

    def test_bookmarks_are_listed_by_type_and_sorted_by_txg(self) -> None:
        output = point("tank/a#b", "bookmark", 2, 20, "-") + point("tank/a#a", "bookmark", 1, 10, "-")
        zfs, _ = openzfs({INVENTORY: said(ITSELF + output)})
        assert zfs.bookmarks("tank/a") == [Bookmark("tank/a#a", "1", 10, TIME), Bookmark("tank/a#b", "2", 20, TIME)]

    def test_existence_that_cannot_be_told_is_an_error(self) -> None:
        zfs, _ = openzfs({"zfs get -H -p -o value type tank/a": failed("permission denied")})
        with pytest.raises(ZfsDenied, match="tank/a"):
            zfs.exists("tank/a")

    def test_a_pool(self) -> None:
        zfs, _ = openzfs({"zpool list -H -o name,guid tank": said("tank\t18446744073709551615\n")})
        assert zfs.pool("tank") == Pool("tank", "18446744073709551615")

    def test_descendants(self) -> None:
        zfs, _ = openzfs({"zfs list -H -r -o name -t filesystem,volume tank": said("tank\ntank/a b\n")})
        assert zfs.descendants("tank") == ["tank", "tank/a b"]

    def test_a_zfs_without_bookmarks_has_none(self) -> None:
        zfs, _ = zfs_fuse({f"{GET_POINTS} -r -d 1 {COLUMNS} tank/a": said(ITSELF)})
        assert zfs.bookmarks("tank/a") == []
        assert not zfs.exists("tank/a#one")
        with pytest.raises(ZfsUnable, match="bookmarks"):
            zfs.bookmark("tank/a@one", "tank/a#one")

    def test_a_zfs_without_estimates_gives_none(self) -> None:
        zfs, line = zfs_fuse({})
        assert zfs.estimate_bytes("tank/a@one", base=None, flags=()) is None
        assert not [command for command in line.asked if "send" in command]


DISTURBANCES: dict[str, Callable[[str], str]] = {
    "a warning first": lambda answer: f"warning: the pool can be upgraded\n{answer}",
    "a warning last": lambda answer: f"{answer}warning: the pool can be upgraded\n",
    "a warning instead": lambda _answer: "warning: the pool can be upgraded\n",
    "the first column alone": lambda answer: "".join(line.split("\t")[0] + "\n" for line in answer.splitlines()),
    "the names of another": lambda answer: answer.replace("tank", "pond"),
}
READINGS: dict[str, tuple[str, str, Callable[[RealZfs], object]]] = {
    "pool": ("zpool list -H -o name,guid tank", "tank\t7\n", lambda zfs: zfs.pool("tank")),
    "dataset": (
        "zfs get -H -p -o property,value type,guid,encryption tank/a",
        "type\tfilesystem\nguid\t7\nencryption\toff\n",
        lambda zfs: zfs.dataset("tank/a"),
    ),
    "descendants": (
        "zfs list -H -r -o name -t filesystem,volume tank/a",
        "tank/a\ntank/a/b\n",
        lambda zfs: zfs.descendants("tank/a"),
    ),
    "snapshots": (INVENTORY, ITSELF + point("tank/a@1", "snapshot", 7, 8), lambda zfs: zfs.snapshots("tank/a")),
    "bookmarks": (INVENTORY, ITSELF + point("tank/a#1", "bookmark", 7, 8), lambda zfs: zfs.bookmarks("tank/a")),
    "all below": (
        INVENTORY.replace("-d 1 ", ""),
        ITSELF + point("tank/a@1", "snapshot", 7, 8) + ITSELF.replace("tank/a", "tank/a/b"),
        lambda zfs: zfs.inventory("tank/a", recursive=True),
    ),
}
HARMLESS = {("dataset", "the names of another"), ("descendants", "the first column alone")}
"""These change nothing in what is printed."""


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("reading", READINGS)
def test_what_is_no_answer_is_never_taken_for_one(reading: str, disturbance: str) -> None:
    """zfs prints warnings where it likes: none is taken for a name, and none ends the run of the other datasets."""
    command, answer, ask = READINGS[reading]
    assert ask(openzfs({command: said(answer)})[0])
    disturbed = DISTURBANCES[disturbance](answer)
    zfs, _ = openzfs({command: said(disturbed)})
    if (reading, disturbance) in HARMLESS:
        assert disturbed == answer
    else:
        with pytest.raises(ZfsError):
            ask(zfs)


class TestDescribed:
    ASK = "zfs get -H -p -o name,property,source,value all tank/a@1 tank/a"

    def test_a_snapshot_and_what_is_set_on_its_dataset(self) -> None:
        zfs, line = openzfs({self.ASK: said(described(atime="off", **{"org.zrb:note": "a\tb"}))})
        facts = zfs.described(["tank/a@1"])["tank/a@1"]
        assert facts.snapshot == Snapshot("tank/a@1", "7", 8, TIME)
        assert facts.properties == {"atime": "off", "org.zrb:note": "a\tb"}
        assert line.asked == [self.ASK]

    def test_what_is_received_counts_and_what_is_inherited_does_not(self) -> None:
        answer = described().replace("quota\tdefault\t0", "quota\treceived\t9")
        answer = answer.replace("atime\tdefault", "atime\tinherited from tank")
        zfs, _ = openzfs({self.ASK: said(answer)})
        assert zfs.described(["tank/a@1"])["tank/a@1"].properties == {"quota": "9"}

    @pytest.mark.parametrize("value", ["x\ntank/a\tquota\tlocal\t0", "x\ny", "x\n", "x\ntank/b\tquota\tlocal\t9"])
    def test_a_value_with_a_newline_does_not_pass_for_other_properties(self, value: str) -> None:
        listed = TestLocalProperties.LIST
        one_by_one = {
            listed: said("org.zrb:note\natime\n"),
            "zfs get -H -p -o value org.zrb:note,atime tank/a": said(f"{value}\noff\n"),
            "zfs get -H -p -o value org.zrb:note tank/a": said(f"{value}\n"),
            "zfs get -H -p -o value atime tank/a": said("off\n"),
            f"{GET_POINTS} {COLUMNS} tank/a@1": said(point("tank/a@1", "snapshot", 7, 8)),
        }
        answer = described(**{"org.zrb:note": value, "atime": "off"})
        zfs, _ = openzfs({self.ASK: said(answer), **one_by_one})
        assert zfs.described(["tank/a@1"])["tank/a@1"].properties == {"org.zrb:note": value, "atime": "off"}


class TestHolds:
    """The texts are those of OpenZFS."""

    def test_several_of_which_some_are_held(self) -> None:
        there = "cannot hold snapshot 'tank/a@one': tag already exists on this dataset\n"
        gone = "cannot hold snapshot 'tank/b@one': dataset does not exist\n"
        zfs, line = openzfs({"zfs hold zrb:daily tank/a@one tank/b@one": failed(there)})
        zfs.hold_all(["tank/a@one", "tank/b@one"], "zrb:daily")
        for stderr in (there + gone, "", "out of memory\n"):
            line.answers["zfs hold zrb:daily tank/a@one tank/b@one"] = failed(stderr)
            line.answers["zpool list -H -o name tank"] = said("tank\n")
            with pytest.raises(EngineError):
                zfs.hold_all(["tank/a@one", "tank/b@one"], "zrb:daily")

    def test_a_hold_that_is_there_is_no_error(self) -> None:
        there = failed("cannot hold snapshot 'tank/a@one': tag already exists on this dataset\n")
        zfs, line = openzfs({"zfs hold zrb:daily tank/a@one": there})
        zfs.hold("tank/a@one", "zrb:daily")
        assert line.asked == ["zfs hold zrb:daily tank/a@one"]

    def test_a_hold_that_is_refused(self) -> None:
        zfs, _ = openzfs({"zfs hold zrb:daily tank/a@one": failed("cannot hold: permission denied\n")})
        with pytest.raises(ZfsDenied, match="Cannot hold tank/a@one"):
            zfs.hold("tank/a@one", "zrb:daily")

    def test_whether_a_hold_was_there(self) -> None:
        absent = failed("cannot release hold from snapshot 'tank/a@one': no such tag on this dataset\n")
        zfs, line = openzfs({"zfs release zrb:daily tank/a@one": OK})
        assert zfs.release("tank/a@one", "zrb:daily") is True
        line.answers["zfs release zrb:daily tank/a@one"] = absent
        assert zfs.release("tank/a@one", "zrb:daily") is False
        line.answers["zfs release zrb:daily tank/a@one"] = failed("permission denied\n")
        with pytest.raises(ZfsDenied, match="zrb:daily of tank/a@one"):
            zfs.release("tank/a@one", "zrb:daily")


class TestChanging:
    @pytest.mark.parametrize(
        ("answer", "gone"),
        [
            (OK, True),
            (failed("could not find any snapshots to destroy; check snapshot names.\n"), True),
            (failed("cannot destroy 'tank/a@one': dataset is busy\n"), False),
            (failed("cannot destroy snapshot tank/a@one: it's being held. Run 'zfs holds'.\n"), False),
            (failed("cannot destroy 'tank/a@one': snapshot has dependent clones\nuse '-R' to destroy\n"), False),
        ],
    )
    def test_a_snapshot_is_destroyed_unless_something_needs_it(self, answer: Ended, gone: bool) -> None:
        zfs, line = openzfs({"zfs destroy tank/a@one": answer})
        assert zfs.destroy_snapshot("tank/a@one") is gone
        assert line.asked == ["zfs destroy tank/a@one"]

    def test_a_snapshot_that_may_not_be_destroyed(self) -> None:
        zfs, _ = openzfs({"zfs destroy tank/a b@one": failed("cannot destroy snapshots: permission denied\n")})
        with pytest.raises(ZfsDenied, match="tank/a b@one") as caught:
            zfs.destroy_snapshot("tank/a b@one")
        assert f"`zfs allow -u {getpwuid(geteuid()).pw_name} destroy,mount 'tank/a b'`" in caught.value.next_step

    @pytest.mark.parametrize("name", ["tank/a", "tank", "tank/a@a,b", "tank/a@a%b", "tank/a@%", "tank/a#one", "-r"])
    def test_only_one_snapshot_is_ever_destroyed(self, name: str) -> None:
        zfs, line = openzfs({})
        with pytest.raises(UsageError):
            zfs.destroy_snapshot(name)
        assert line.asked == []

    def test_properties_are_set_one_by_one_and_reset(self) -> None:
        script = {"zfs set atime=off tank/a": OK, "zfs set a:b=x y tank/a": OK, "zfs inherit readonly tank/a": OK}
        zfs, line = openzfs(script)
        zfs.set_properties("tank/a", {"atime": "off", "a:b": "x y"})
        zfs.inherit_property("tank/a", "readonly")
        assert line.asked == list(script)

    def test_a_property_that_is_refused(self) -> None:
        zfs, _ = openzfs({"zfs set quota=-1 tank/a": failed("cannot set property: bad numeric value '-1'\n")})
        with pytest.raises(ZfsError, match=r"quota of tank/a "):
            zfs.set_properties("tank/a", {"quota": "-1"})

    def test_a_dataset_is_destroyed_without_force(self) -> None:
        zfs, line = openzfs({"zfs destroy tank/a": OK})
        zfs.destroy_dataset("tank/a")
        assert line.asked == ["zfs destroy tank/a"]


class TestLocalProperties:
    LIST = "zfs get -H -p -s local,received -o property all tank/a"

    def test_none(self) -> None:
        zfs, _ = openzfs({self.LIST: said("")})
        assert zfs.local_properties("tank/a") == {}

    def test_all_values_in_one_question(self) -> None:
        zfs, _ = openzfs(
            {
                self.LIST: said("atime\norg.zrb:note\nquota\n"),
                "zfs get -H -p -o value atime,org.zrb:note,quota tank/a": said("off\n\n1024\n"),
            }
        )
        assert zfs.local_properties("tank/a") == {"atime": "off", "org.zrb:note": "", "quota": "1024"}

    def test_a_value_with_a_newline_does_not_pass_for_other_properties(self) -> None:
        zfs, _ = openzfs(
            {
                self.LIST: said("atime\norg.zrb:note\nquota\n"),
                "zfs get -H -p -o value atime,org.zrb:note,quota tank/a": said("off\nx\nnone\n1024\n"),
                "zfs get -H -p -o value atime tank/a": said("off\n"),
                "zfs get -H -p -o value org.zrb:note tank/a": said("x\nnone\n"),
                "zfs get -H -p -o value quota tank/a": said("1024\n"),
            }
        )
        assert zfs.local_properties("tank/a") == {"atime": "off", "org.zrb:note": "x\nnone", "quota": "1024"}


class TestSnapshots:
    def test_openzfs_takes_several_in_one_command(self) -> None:
        output = point("tank/a@x", "snapshot", 1, 10) + point("tank/b@x", "snapshot", 2, 10)
        zfs, line = openzfs(
            {
                "zfs snapshot -o zrb:taken-as=x tank/a@x tank/b@x": OK,
                f"{GET_POINTS} {COLUMNS},written tank/b@x tank/a@x": said(output),
            }
            | {"zfs snapshot -o zrb:taken-as=x tank/b@x tank/a@x": OK}
        )
        assert [taken.name for taken in zfs.create_snapshots(["tank/b@x", "tank/a@x"])] == ["tank/b@x", "tank/a@x"]
        assert "zfs snapshot -o zrb:taken-as=x tank/b@x tank/a@x" in line.asked

    def test_who_may_not_mark_them_takes_them_without_a_mark(self) -> None:
        denied = failed("cannot create snapshots : permission denied\n")
        script = {"zfs snapshot -o zrb:taken-as=x tank/a@x tank/b@x": denied, "zfs snapshot tank/a@x tank/b@x": OK}
        zfs, line = openzfs(script)
        zfs.take_snapshots(["tank/a@x", "tank/b@x"])
        assert line.asked[-2:] == list(script)

    @pytest.mark.parametrize(
        ("first", "second", "error", "tries"),
        [("permission denied", "permission denied", ZfsDenied, 2), ("out of space", "", ZfsError, 1)],
    )
    def test_a_snapshot_that_cannot_be_taken(self, first: str, second: str, error: type[ZfsError], tries: int) -> None:
        script = {"zfs snapshot -o zrb:taken-as=x tank/a@x": failed(first), "zfs snapshot tank/a@x": failed(second)}
        zfs, line = openzfs(script)
        with pytest.raises(error, match="tank/a@x"):
            zfs.take_snapshots(["tank/a@x"])
        assert len([one for one in line.asked if "snapshot" in one]) == tries

    def test_zfs_fuse_takes_them_below_the_common_ancestor_and_removes_the_surplus(self) -> None:
        output = point("tank/a/b@x", "snapshot", 1, 10) + point("tank/a/c/d@x", "snapshot", 2, 10)
        zfs, line = zfs_fuse(
            {
                "zfs list -H -r -o name -t filesystem,volume tank/a": said("tank/a\ntank/a/b\ntank/a/c\ntank/a/c/d\n"),
                "zfs snapshot -o zrb:taken-as=x -r tank/a@x": OK,
                "zfs list -H -r -o name -t snapshot tank/a": said(
                    "tank/a@old\ntank/a@x\ntank/a/b@x\ntank/a/c@x\ntank/a/c/d@x\n"
                ),
                "zfs destroy tank/a@x": OK,
                "zfs destroy tank/a/c@x": OK,
                f"{GET_POINTS} {COLUMNS} tank/a/b@x tank/a/c/d@x": said(output),
            }
        )
        zfs.create_snapshots(["tank/a/b@x", "tank/a/c/d@x"])
        assert [command for command in line.asked if "destroy" in command] == [
            "zfs destroy tank/a@x",
            "zfs destroy tank/a/c@x",
        ]

    def test_zfs_fuse_refuses_different_names_at_one_instant(self) -> None:
        zfs, line = zfs_fuse({})
        with pytest.raises(ZfsUnable, match="x, y"):
            zfs.create_snapshots(["tank/a@x", "tank/b@y"])
        assert not [command for command in line.asked if "snapshot" in command]

    def test_zfs_fuse_takes_none_where_a_dataset_is_missing(self) -> None:
        zfs, line = zfs_fuse(
            {
                "zfs list -H -r -o name -t filesystem,volume tank": said("tank\ntank/a\n"),
                "zpool list -H -o name tank": said("tank\n"),
            }
        )
        with pytest.raises(NoSuchDataset, match="tank/b"):
            zfs.create_snapshots(["tank/a@x", "tank/b@x"])
        assert not [command for command in line.asked if "zfs snapshot" in command]

    @pytest.mark.parametrize("names", [[], ["tank/a@x", "dozer/a@x"]])
    def test_one_instant_is_one_pool(self, names: list[str]) -> None:
        zfs, _ = openzfs({})
        with pytest.raises(ZfsUnable, match="one task"):
            zfs.create_snapshots(names)

    def test_the_dataset_that_is_missing_is_the_one_named(self) -> None:
        zfs, _ = openzfs(
            {
                "zfs snapshot -o zrb:taken-as=x tank/a@x tank/b@x": failed(
                    "cannot create snapshot 'tank/b@x': dataset does not exist"
                ),
                "zpool list -H -o name tank": said("tank\n"),
            }
        )
        with pytest.raises(NoSuchDataset) as failure:
            zfs.create_snapshots(["tank/a@x", "tank/b@x"])
        assert failure.value.subject == "tank/b"

    @pytest.mark.parametrize(
        ("datasets", "ancestor"),
        [
            (["tank/a"], "tank/a"),
            (["tank/a", "tank/a/b"], "tank/a"),
            (["tank/a/b", "tank/a/c"], "tank/a"),
            (["tank/ab", "tank/ac"], "tank"),
            (["tank", "tank/a"], "tank"),
        ],
    )
    def test_common_ancestor(self, datasets: list[str], ancestor: str) -> None:
        assert common_ancestor(datasets) == ancestor


class TestBookmarks:
    MAKE = "zfs bookmark tank/a@one tank/a#one"
    EXISTS = "zfs get -H -p -o value type tank/a#one"
    GUID = "zfs get -H -p -o value guid tank/a"

    def test_one_is_made(self) -> None:
        zfs, line = openzfs({self.MAKE: OK})
        zfs.bookmark("tank/a@one", "tank/a#one")
        assert line.asked[-1] == self.MAKE

    def test_the_same_one_there_already_is_no_error(self) -> None:
        zfs, _ = openzfs(
            {
                self.MAKE: failed("cannot create bookmark 'tank/a#one': bookmark exists"),
                self.EXISTS: said("bookmark\n"),
                f"{self.GUID}#one": said("7\n"),
                f"{self.GUID}@one": said("7\n"),
            }
        )
        zfs.bookmark("tank/a@one", "tank/a#one")

    def test_another_one_of_that_name_is(self) -> None:
        zfs, _ = openzfs(
            {
                self.MAKE: failed("cannot create bookmark 'tank/a#one': bookmark exists"),
                self.EXISTS: said("bookmark\n"),
                f"{self.GUID}#one": said("7\n"),
                f"{self.GUID}@one": said("8\n"),
            }
        )
        with pytest.raises(ZfsError, match="another name"):
            zfs.bookmark("tank/a@one", "tank/a#one")

    def test_of_a_missing_snapshot(self) -> None:
        zfs, _ = openzfs(
            {
                self.MAKE: failed("cannot create bookmark 'tank/a#one': dataset does not exist"),
                self.EXISTS: failed("cannot open 'tank/a#one': dataset does not exist"),
                "zpool list -H -o name tank": said("tank\n"),
            }
        )
        with pytest.raises(NoSuchSnapshot) as failure:
            zfs.bookmark("tank/a@one", "tank/a#one")
        assert failure.value.subject == "tank/a@one"


class TestEstimate:
    @pytest.mark.parametrize(
        "ended",
        [
            said("full\ttank/a@one\t12345\nsize\t12345\n"),
            Ended(0, "", "full\ttank/a@one\t12345\nsize\t12345\n"),
            said("incremental\tzero\ttank/a@one\t1\nsize\t12345\n"),
        ],
    )
    def test_the_size_line_counts_wherever_it_is_printed(self, ended: Ended) -> None:
        zfs, _ = openzfs({"zfs send -nP -L -c -i tank/a#zero tank/a@one": ended})
        assert zfs.estimate_bytes("tank/a@one", base="tank/a#zero", flags=("-L", "-c")) == 12345

    def test_a_zfs_that_prints_none(self) -> None:
        zfs, _ = openzfs({"zfs send -nP tank/a@one": said("full\ttank/a@one\n")})
        assert zfs.estimate_bytes("tank/a@one", base=None, flags=()) is None

    def test_a_failure_is_one(self) -> None:
        zfs, _ = openzfs({"zfs send -nP tank/a@one": failed("permission denied")})
        with pytest.raises(ZfsDenied, match="tank/a@one"):
            zfs.estimate_bytes("tank/a@one", base=None, flags=())


class TestReceiveOptions:
    def test_the_first_link_of_a_filesystem(self) -> None:
        assert " ".join(receive_options(fakes.OPENZFS, kind="filesystem", first=True)) == (
            "-u -o canmount=noauto -o mountpoint=none -o readonly=on -o sharenfs=off -o sharesmb=off"
        )

    def test_later_links_keep_what_the_first_set(self) -> None:
        assert " ".join(receive_options(fakes.OPENZFS, kind="filesystem", first=False)) == "-u"

    def test_a_volume_has_no_mountpoint(self) -> None:
        assert " ".join(receive_options(fakes.OPENZFS, kind="volume", first=True)) == "-u -o readonly=on"
        assert receive_options(fakes.OPENZFS, kind="volume", first=False) == ["-u"]

    def test_zfs_fuse_has_no_options(self) -> None:
        assert receive_options(fakes.ZFS_FUSE, kind="filesystem", first=True) == []


class TestNewTarget:
    MISSING = failed("cannot open 'tank/r/new': dataset does not exist")
    EXISTS = "zfs get -H -p -o value type tank/r/new"
    MOUNTPOINT = "zfs get -H -p -o property,value mountpoint tank/r"

    def test_an_existing_target(self) -> None:
        zfs, _ = openzfs({self.EXISTS: said("filesystem\n")})
        with pytest.raises(TargetExists, match="never overwrites"):
            zfs.receive("tank/r/new", type="filesystem", first=True)

    def test_a_pool_is_no_target(self) -> None:
        zfs, _ = openzfs({"zfs get -H -p -o value type tank": self.MISSING})
        with pytest.raises(NoSuchDataset, match="tank/restored"):
            zfs.receive("tank", type="filesystem", first=True)

    def test_a_missing_parent(self) -> None:
        zfs, _ = openzfs(
            {self.EXISTS: self.MISSING, self.MOUNTPOINT: self.MISSING, "zpool list -H -o name tank": said("tank\n")}
        )
        with pytest.raises(NoSuchDataset, match=r"zfs create.* tank/r"):
            zfs.receive("tank/r/new", type="filesystem", first=True)

    @pytest.mark.parametrize("obstacle", ["directory", "file", "link"])
    def test_a_zfs_that_mounts_at_once_covers_nothing(self, tmp_path: Path, obstacle: str) -> None:
        covered = tmp_path / "new"
        if obstacle == "directory":
            (covered / "precious").mkdir(parents=True)
        elif obstacle == "file":
            covered.touch()
        else:
            covered.symlink_to("/nowhere/at/all")
        zfs, _ = zfs_fuse({self.EXISTS: self.MISSING, self.MOUNTPOINT: said(f"mountpoint\t{tmp_path}\n")})
        with pytest.raises(ZfsUnable, match=f"cover {covered}") as failure:
            zfs.receive("tank/r/new", type="filesystem", first=True)
        assert "mountpoint=none" in failure.value.next_step

    @pytest.mark.parametrize("mountpoint", ["none", "legacy", "/nowhere/at/all", "{empty}"])
    def test_a_zfs_that_mounts_at_once_may_mount_where_nothing_is(
        self, programs: Path, tmp_path: Path, mountpoint: str
    ) -> None:
        (programs / "act").write_text("exit 0")
        (tmp_path / "empty" / "new").mkdir(parents=True)
        answer = said(f"mountpoint\t{mountpoint.format(empty=tmp_path / 'empty')}\n")
        zfs, _ = zfs_fuse({self.EXISTS: self.MISSING, self.MOUNTPOINT: answer})
        zfs.receive("tank/r/new", type="filesystem", first=True).finish()
        assert (programs / "arguments").read_text().split() == ["receive", "tank/r/new"]

    def test_a_volume_covers_nothing(self, programs: Path, tmp_path: Path) -> None:
        (programs / "act").write_text("exit 0")
        zfs, _ = zfs_fuse({self.EXISTS: self.MISSING, self.MOUNTPOINT: said("mountpoint\t/\n")})
        zfs.receive("tank/r/new", type="volume", first=True).finish()


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``zfs`` that writes its arguments down, reads stdin to its end and does as the file ``act`` says."""
    program = tmp_path / "bin" / "zfs"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > "{tmp_path}/arguments"\ncat > "{tmp_path}/stdin"\n. "{tmp_path}/act"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


FEATURE = "zpool get -H -o value feature@extensible_dataset tank"
RESUMABLE = {FEATURE: said("active\n")}


class TestCutOff:
    TOKEN = "zfs get -H -p -o property,value receive_resume_token tank/r"

    def test_nothing_was_cut_off(self) -> None:
        zfs, _ = openzfs({self.TOKEN: said("receive_resume_token\t-\n")})
        assert zfs.resume_point("tank/r") is None

    def test_a_zfs_that_cannot_resume_is_not_asked(self) -> None:
        zfs, line = zfs_fuse({})
        assert zfs.resume_point("tank/r") is None
        assert not any("resume" in asked for asked in line.asked)

    def test_a_token_that_is_not_understood(self) -> None:
        zfs, _ = openzfs({self.TOKEN: said("receive_resume_token\t9-a-b-c\n")})
        with pytest.raises(ZfsError, match="tank/r"):
            zfs.resume_point("tank/r")

    def test_giving_up(self) -> None:
        zfs, line = openzfs({"zfs receive -A tank/r": said("")})
        zfs.abort_receive("tank/r")
        assert line.asked[-1] == "zfs receive -A tank/r"


class TestStreams:
    def test_send_from_a_bookmark_with_flags(self, programs: Path) -> None:
        (programs / "act").write_text("printf stream")
        zfs, _ = openzfs({})
        process = zfs.send("tank/a@two", base="tank/a#one", flags=("-L", "-c"))
        with open(process.fileno(), "rb", closefd=False) as pipe:
            assert pipe.read() == b"stream"
        process.wait()
        assert (programs / "arguments").read_text().split() == ["send", "-L", "-c", "-i", "tank/a#one", "tank/a@two"]

    def test_a_failed_send_says_snapshot_status_and_stderr(self, programs: Path) -> None:
        (programs / "act").write_text("echo 'warning: cannot send: Input/output error' >&2; exit 1")
        zfs, _ = openzfs({})
        process = zfs.send("tank/a@two", base=None, flags=())
        with pytest.raises(SendFailed) as failure:
            process.wait()
        assert json.dumps(failure.value.facts())
        assert failure.value.subject == "tank/a@two" and "status 1" in failure.value.problem
        assert failure.value.answer == "warning: cannot send: Input/output error"
        assert "`zpool status -v`" in failure.value.next_step

    def test_receive_with_options(self, programs: Path) -> None:
        (programs / "act").write_text("exit 0")
        zfs, _ = openzfs(RESUMABLE)
        process = zfs.receive("tank/r/new", type="filesystem", first=False)
        with open(process.fileno(), "wb", closefd=False) as pipe:
            pipe.write(b"stream")
        process.finish()
        assert (programs / "arguments").read_text().split() == ["receive", "-s", "-u", "tank/r/new"]
        assert (programs / "stdin").read_bytes() == b"stream"

    def test_a_failed_receive_says_target_status_and_stderr(self, programs: Path) -> None:
        (programs / "act").write_text("echo 'internal error' >&2; exit 2")
        zfs, _ = openzfs(RESUMABLE)
        process = zfs.receive("tank/r/new", type="volume", first=False)
        with pytest.raises(ReceiveFailed) as failure:
            process.finish()
        assert failure.value.subject == "tank/r/new" and "status 2" in failure.value.problem
        assert failure.value.answer == "internal error"
        assert "--continue" in failure.value.next_step

    def test_a_stream_that_finds_its_target_taken_is_a_failed_receive(self, programs: Path) -> None:
        (programs / "act").write_text("echo \"destination 'tank/r/new' exists\" >&2; exit 1")
        zfs, _ = openzfs(RESUMABLE)
        with pytest.raises(ReceiveFailed, match="never overwrites"):
            zfs.receive("tank/r/new", type="volume", first=False).finish()

    @pytest.mark.parametrize("feature", [said("disabled\n"), said("-\n"), failed("bad property list")])
    def test_a_pool_that_is_older_than_resuming(self, programs: Path, feature: Ended) -> None:
        (programs / "act").write_text("exit 0")
        zfs, _ = openzfs({FEATURE: feature})
        zfs.receive("tank/r/new", type="volume", first=False).finish()
        assert (programs / "arguments").read_text().split() == ["receive", "-u", "tank/r/new"]

    def test_the_rest_of_a_stream_goes_to_a_target_that_is_there(self, programs: Path) -> None:
        (programs / "act").write_text("exit 0")
        zfs, _ = openzfs(RESUMABLE)
        zfs.receive("tank/r/new", type="volume", first=True, token="ours", resumes=True).finish()
        assert (programs / "arguments").read_text().split() == [
            "receive", "-s", "-u", "-o", "readonly=on", "-o", "zrb:received-by=ours", "tank/r/new"
        ]  # fmt: skip

    def test_a_killed_receive_of_zfs_fuse_waits_for_its_daemon(self, programs: Path) -> None:
        (programs / "act").write_text(f"touch '{programs}/ended'")
        zfs, _ = zfs_fuse({})
        zfs.receive("tank/r/new", type="filesystem", first=False).kill()
        assert (programs / "ended").exists()

    def test_a_killed_receive_of_openzfs_never_sees_the_end_of_the_stream(self, programs: Path) -> None:
        (programs / "act").write_text(f"touch '{programs}/ended'")
        zfs, _ = openzfs(RESUMABLE)
        zfs.receive("tank/r/new", type="volume", first=False).kill()
        assert not (programs / "ended").exists()


class TestSettling:
    READ = "zfs get -H -p -o property,value mounted tank/r"
    LOCAL = "zfs get -H -p -s local -o property,value"
    NAMES = "canmount,mountpoint,readonly,sharenfs,sharesmb"

    def test_what_is_at_rest_is_left_alone(self) -> None:
        local = "canmount\tnoauto\nmountpoint\tnone\nreadonly\ton\nsharenfs\toff\nsharesmb\toff\n"
        zfs, line = openzfs({self.READ: said("mounted\tno\n"), f"{self.LOCAL} {self.NAMES} tank/r": said(local)})
        zfs.protect_received("tank/r", type="filesystem")
        assert not [command for command in line.asked if " set " in command or "unmount" in command]

    def test_what_is_mounted_is_unmounted_and_set(self) -> None:
        zfs, line = openzfs(
            {
                self.READ: said("mounted\tyes\n"),
                "zfs unmount tank/r": OK,
                f"{self.LOCAL} {self.NAMES} tank/r": said("mountpoint\t/mnt\nsharenfs\toff\n"),
                "zfs set canmount=noauto tank/r": OK,
                "zfs set mountpoint=none tank/r": OK,
                "zfs set readonly=on tank/r": OK,
                "zfs set sharesmb=off tank/r": OK,
            }
        )
        zfs.protect_received("tank/r", type="filesystem")
        assert line.asked[1] == "zfs unmount tank/r"
        assert len([command for command in line.asked if " set " in command]) == 4

    def test_a_volume_is_only_read_only(self) -> None:
        zfs, line = openzfs({f"{self.LOCAL} readonly tank/r": said(""), "zfs set readonly=on tank/r": OK})
        zfs.protect_received("tank/r", type="volume")
        assert len(line.asked) == 2
