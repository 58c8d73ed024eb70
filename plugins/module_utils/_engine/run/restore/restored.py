# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a restore has been done already."""

from __future__ import annotations

from collections.abc import Sequence

from ...repository.catalogue import read_catalogue
from ...values.repository import Line
from ..context import Environment
from .plan import RestoreSelection, choose_backup


def restored_guid(
    env: Environment, selection: RestoreSelection, *, trusted: Sequence[str], allow_unsigned: bool = False
) -> str | None:
    """The guid of the selected backup's snapshot, where that is the newest snapshot of the target; else ``None``.

    Downloads manifests only, and only where the target exists. Raises ``NoSuchBackup``, and what the catalogue and
    ZFS raise.
    """
    if not env.zfs.exists(selection.target):
        return None
    line = Line(host=selection.host or env.config.host, dataset=selection.dataset)
    store = env.open_store()
    try:
        catalogue = read_catalogue(
            store, trusted=trusted, host=line.host, dataset=line.dataset, allow_unsigned=allow_unsigned
        )
    finally:
        store.close()
    chosen = choose_backup(catalogue, line, selection)
    snapshots = env.zfs.snapshots(selection.target)
    newest = snapshots[-1].guid if snapshots else None
    return newest if newest == chosen.snapshot.guid else None
