# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The surroundings of a run: the real ones, and whom they trust."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest
from zrb.errors import KeyFileError
from zrb.run.context import Context, utc_now
from zrb.run.keys import write_signing_key
from zrb.seal.signing import SigningKey
from zrb.store.directory import DirectoryStore
from zrb.values.config import Config, LocalSettings
from zrb.values.progress import Silent
from zrb.zfs.real_zfs import RealZfs


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "repository").mkdir()
    return Config(
        base_dir=PurePosixPath(tmp_path / "state"),
        log_dir=PurePosixPath(tmp_path / "logs"),
        host="nas1",
        recipients=(),
        signing_key=None,
        local=LocalSettings(PurePosixPath(tmp_path / "repository")),
    )


def test_the_real_one(config: Config, tmp_path: Path) -> None:
    context = Context.for_config(config)
    assert isinstance(context.zfs, RealZfs)
    store = context.open_store()
    assert isinstance(store, DirectoryStore)
    assert store.location == str(tmp_path / "repository")
    assert context.base_dir == tmp_path / "state"
    assert isinstance(context.progress, Silent)
    assert context.checkpoint("anything") is None
    assert not context.base_dir.exists(), "nothing is made by looking"


def test_tokens_are_random(config: Config) -> None:
    context = Context.for_config(config)
    tokens = {context.token() for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token) == 8 and int(token, 16) >= 0 for token in tokens)


def test_time_is_utc_in_whole_seconds() -> None:
    now = utc_now()
    assert now.tzinfo is UTC
    assert now.microsecond == 0
    assert abs((datetime.now(UTC) - now).total_seconds()) < 3600


def test_whom_it_trusts(config: Config, tmp_path: Path) -> None:
    own = write_signing_key(tmp_path / "signing.key").public
    other = SigningKey.generate().public
    configured = replace(config, trusted_signers=(other, own))
    with_key = replace(configured, signing_key=PurePosixPath(tmp_path / "signing.key"))

    def trusted(config: Config) -> tuple[str, ...]:
        return Context.for_config(config).trusted_signers()

    assert trusted(config) == ()
    assert trusted(configured) == (other, own)
    assert trusted(with_key) == (other, own)
    assert trusted(replace(with_key, trusted_signers=(other,))) == (other, own)
    assert trusted(replace(with_key, trusted_signers=())) == (own,)


def test_a_key_that_is_not_there_is_trusted_by_nobody(config: Config, tmp_path: Path) -> None:
    """A machine that only restores has the public half alone."""
    missing = replace(config, signing_key=PurePosixPath(tmp_path / "none"), trusted_signers=("zrbsign1x",))
    assert Context.for_config(missing).trusted_signers() == ("zrbsign1x",)


def test_a_key_that_may_not_be_looked_for_is_an_error(config: Config, tmp_path: Path) -> None:
    """As where its directory is closed to this user; a name that is too long is refused to everybody."""
    unseen = replace(config, signing_key=PurePosixPath(tmp_path / ("x" * 300)))
    with pytest.raises(KeyFileError, match="File name too long"):
        Context.for_config(unseen).trusted_signers()


def test_a_key_that_is_none_is_an_error(config: Config, tmp_path: Path) -> None:
    (tmp_path / "signing.key").write_text("nonsense")
    (tmp_path / "signing.key").chmod(0o600)
    with pytest.raises(KeyFileError):
        Context.for_config(replace(config, signing_key=PurePosixPath(tmp_path / "signing.key"))).trusted_signers()
