# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Private key files: for their owner alone, and never overwritten."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from zrb.config.key_files import MAX_KEY_FILE_BYTES, read_identities, read_signing_key
from zrb.errors import KeyFileError
from zrb.run.keys import KeyWritten, write_age_key, write_signing_key
from zrb.seal.age_keys import new_identity, public_of
from zrb.seal.signing import SigningKey
from zrb.values.recipients import KeyKind, kind_of

NOW = datetime(2026, 1, 31, 2, 0, tzinfo=UTC)
WRITERS = [write_age_key, write_signing_key]
READERS = [read_identities, read_signing_key]


def private_file(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("kind", ["classic", "hybrid"])
def test_an_age_key_is_written_as_age_keygen_writes_it(tmp_path: Path, kind: KeyKind) -> None:
    path = tmp_path / "age.key"
    written = write_age_key(path, kind=kind, now=NOW)
    assert kind_of(written.public) == kind
    created, public, private, end = path.read_text().split("\n")
    assert (created, public, end) == ("# created: 2026-01-31T02:00:00Z", f"# public key: {written.public}", "")
    assert public_of(private) == written.public
    assert written == KeyWritten(path, written.public, created=True)
    assert read_identities(path) == [private]


@pytest.mark.parametrize(("kind", "prefix"), [("hybrid", "ZRB-SIGNING-KEY-PQ-1"), ("classic", "ZRB-SIGNING-KEY-1")])
def test_a_signing_key_is_written(tmp_path: Path, kind: KeyKind, prefix: str) -> None:
    path = tmp_path / "signing.key"
    written = write_signing_key(path, kind=kind, now=NOW)
    assert path.read_text().startswith(f"# created: 2026-01-31T02:00:00Z\n# public key: {written.public}\n{prefix}")
    assert read_signing_key(path).public == written.public


@pytest.mark.parametrize("write", WRITERS)
def test_a_key_file_is_for_its_owner_alone_whatever_the_umask(
    write: Callable[[Path], KeyWritten], tmp_path: Path
) -> None:
    before = os.umask(0)
    try:
        write(tmp_path / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("write", WRITERS)
def test_a_key_that_is_there_is_left_alone(write: Callable[[Path], KeyWritten], tmp_path: Path) -> None:
    path = tmp_path / "key"
    first = write(path)
    content = path.read_bytes()
    assert write(path) == KeyWritten(path, first.public, created=False)
    assert path.read_bytes() == content


def test_another_file_that_is_there_is_neither_taken_nor_overwritten(tmp_path: Path) -> None:
    age = tmp_path / "age.key"
    write_age_key(age)
    content = age.read_bytes()
    with pytest.raises(KeyFileError, match="age private key"):
        write_signing_key(age)
    assert age.read_bytes() == content
    signing = tmp_path / "signing.key"
    write_signing_key(signing)
    with pytest.raises(KeyFileError, match="signing key"):
        write_age_key(signing)


@pytest.mark.parametrize("write", WRITERS)
def test_a_key_that_appears_meanwhile_is_not_overwritten(
    write: Callable[[Path], KeyWritten], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = private_file(tmp_path / "key", "the key of another run")
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    with pytest.raises(KeyFileError, match="File exists"):
        write(path)
    assert path.read_text() == "the key of another run"


@pytest.mark.parametrize("write", WRITERS)
def test_a_key_and_its_name_are_on_disk_before_it_is_used(
    write: Callable[[Path], KeyWritten], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )
    write(tmp_path / "key")
    assert synced == [str(tmp_path / "key"), str(tmp_path)]


@pytest.mark.parametrize("write", WRITERS)
def test_a_link_to_nowhere_is_not_followed(write: Callable[[Path], KeyWritten], tmp_path: Path) -> None:
    (tmp_path / "key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="does not exist"):
        write(tmp_path / "key")
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("write", WRITERS)
def test_the_directory_has_to_be_there(write: Callable[[Path], KeyWritten], tmp_path: Path) -> None:
    path = tmp_path / "missing/key"
    with pytest.raises(KeyFileError) as caught:
        write(path)
    assert str(path) in caught.value.problem
    assert caught.value.answer == "No such file or directory"
    assert str(path.parent) in caught.value.next_step


def test_half_a_key_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left"):
        write_age_key(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o601, 0o660])
def test_a_key_that_others_can_use_is_refused(read: Callable[[Path], object], mode: int, tmp_path: Path) -> None:
    path = private_file(tmp_path / "key", new_identity()[0], mode)
    with pytest.raises(KeyFileError) as caught:
        read(path)
    assert f"{mode:04o}" in caught.value.problem
    assert caught.value.next_step.startswith(f"`chmod 600 {path}`")


def test_a_key_that_its_owner_can_only_read_is_taken(tmp_path: Path) -> None:
    private, _ = new_identity()
    assert read_identities(private_file(tmp_path / "key", private, 0o400)) == [private]


@pytest.mark.parametrize("read", READERS)
def test_a_missing_key_is_named(read: Callable[[Path], object], tmp_path: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        read(tmp_path / "key")
    assert str(tmp_path / "key") in caught.value.problem
    assert "zrb genkey" in caught.value.next_step


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_file_is_named(read: Callable[[Path], object], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyFileError, match="regular file"):
            read(path)
    with pytest.raises(KeyFileError, match="Not a directory"):
        read(private_file(tmp_path / "file", "") / "key")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0", b"#" * (MAX_KEY_FILE_BYTES + 1)])
def test_what_is_no_text_is_no_key(content: bytes, tmp_path: Path) -> None:
    path = private_file(tmp_path / "key", "")
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match="key file"):
        read_identities(path)


def test_a_public_key_is_named_with_its_file(tmp_path: Path) -> None:
    path = private_file(tmp_path / "key", new_identity()[1])
    with pytest.raises(KeyFileError, match="age public key"):
        read_identities(path)
    path.write_text(SigningKey.generate().public)
    with pytest.raises(KeyFileError, match="signer"):
        read_signing_key(path)


@pytest.mark.parametrize(
    ("we", "owner", "fine"), [(1000, 1000, True), (1000, 0, True), (1000, 1001, False), (0, 1001, True)]
)
def test_a_key_of_another_user_is_refused(
    we: int, owner: int, fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, _ = new_identity()
    path = private_file(tmp_path / "key", private)
    status = os.stat_result((stat.S_IFREG | 0o600, 1, 1, 1, owner, 0, 0, 0, 0, 0))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    monkeypatch.setattr(os, "geteuid", lambda: we)
    if fine:
        assert read_identities(path) == [private]
        return
    with pytest.raises(KeyFileError) as caught:
        read_identities(path)
    assert f"uid {owner}" in caught.value.problem
    assert f"`chown {we} {path}`" in caught.value.next_step
