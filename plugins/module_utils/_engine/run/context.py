# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a use case works with. Everything outside the engine (ZFS, storage, clock, randomness, the screen)
is in here, so that a test can put in another."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from ..state.known_repositories import KnownRepository, known_repository, remember_repository
from ..store.protocol import Store
from ..stream.patience import Patience
from ..stream.patient_store import PatientStore
from ..values.clock import utc_now
from ..values.config import PATIENCE_S, PATIENCE_TO_LOOK_S, Config
from ..values.progress import Progress, Silent
from ..zfs.protocol import Zfs


@dataclass(frozen=True, slots=True)
class Context:
    """One run's surroundings. ``token`` gives 8 hex digits of randomness."""

    config: Config
    zfs: Zfs
    open_store: Callable[[], Store]
    """The bare store. What is done with the repository takes :meth:`patient_store`."""
    progress: Progress = Silent()
    clock: Callable[[], datetime] = utc_now
    token: Callable[[], str] = lambda: secrets.token_hex(4)
    patience: Patience = Patience(0)
    checkpoint: Callable[[str], None] = lambda _name: None
    """Called by name at every step after which the process may be killed; tests kill it there."""

    @classmethod
    def for_config(cls, config: Config, *, progress: Progress = Silent()) -> Context:  # noqa: B008 - immutable
        """The real thing: this machine's ZFS and the configured storage."""
        from ..store.open_store import open_store
        from ..zfs.real_zfs import RealZfs

        limit_s = config.patience_s
        if config.s3 is None:
            limit_s = 0  # what a disk could not write once is not safe if it succeeds the second time
        elif limit_s is None:
            limit_s = PATIENCE_TO_LOOK_S if sys.stderr.isatty() else PATIENCE_S
        return cls(
            config=config,
            zfs=RealZfs(),
            open_store=lambda: open_store(config),
            progress=progress,
            patience=Patience(limit_s, tell=partial(progress.log, level="warning")),
        )

    def patient_store(self) -> PatientStore:
        """The store for a run: each call waits, as long as ``patience`` says, for a storage that is away."""
        return PatientStore(self.open_store(), self.patience)

    def store_to_look_at(self) -> PatientStore:
        """The store for what only looks, and shows what it saw: nobody waits hours for an answer."""
        return PatientStore(self.open_store(), self.patience.at_most(PATIENCE_TO_LOOK_S))

    @property
    def base_dir(self) -> Path:
        """The state directory."""
        return Path(self.config.base_dir)

    @property
    def known_repository(self) -> KnownRepository | None:
        """What this machine remembers of the repository at the configured destination."""
        return known_repository(self.base_dir, self.config.destination)

    @property
    def known_id(self) -> str | None:
        """The id of that repository."""
        known = self.known_repository
        return known.repository_id if known else None

    def remember_repository(self, repository_id: str, *, host: str = "") -> None:
        """Remember the repository at the configured destination; ``host`` is the name that this machine backs up under.

        Another one that is known there stays: see ``zrb verify --accept-losses``. Raises ``LocalStateError``.
        """
        before = self.known_repository or KnownRepository(self.config.destination, None, "", ())
        now = replace(before, repository_id=repository_id, host=host or before.host)
        if now != before and before.repository_id in (None, repository_id):
            remember_repository(self.base_dir, now)

    def trusted_signers(self) -> tuple[str, ...]:
        """Public keys whose manifests count here: the configured ones and the public half of our own key, if it
        is on this machine. Raises ``KeyFileError`` for one that may not be read or is none."""
        from ..config.key_files import read_signing_key

        signers = list(self.config.trusted_signers)
        if self.config.signing_key is not None and not _is_absent(Path(self.config.signing_key)):
            signers.append(read_signing_key(Path(self.config.signing_key)).public)
        return tuple(dict.fromkeys(signers))


def _is_absent(path: Path) -> bool:
    try:
        return not path.exists()
    except OSError:  # in a directory that this user may not enter: reading it will say so
        return False
