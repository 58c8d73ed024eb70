# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a restore has been done already."""

from __future__ import annotations

from collections.abc import Sequence

from ...repository.catalogue import read_catalogue
from ...values.repository_names import Series
from ..context import Context
from .held_links import count_links, is_unfinished
from .plan import RestoreSelection, choose_backup


def restored_guid(
    context: Context, selection: RestoreSelection, *, trusted: Sequence[str], allow_unsigned: bool = False
) -> str | None:
    """The guid of the selected backup's snapshot, if that is the newest snapshot of the target, and the restore that
    brought it said its last word; else ``None``.

    Downloads manifests only, and only if the target exists. Raises ``NoSuchBackup``, and what the catalogue and
    ZFS raise.
    """
    if not context.zfs.exists(selection.target):
        return None
    series = Series(host=selection.host or context.config.host, dataset=selection.dataset)
    store = context.store_to_look_at()
    try:
        catalogue = read_catalogue(
            store,
            trusted=trusted,
            host=series.host,
            dataset=series.dataset,
            allow_unsigned=allow_unsigned,
            known=context.known_id,
        )
    finally:
        store.close()
    chosen = choose_backup(catalogue, series, selection)
    if not count_links(context.zfs.snapshots(selection.target), [chosen]) or is_unfinished(context, selection.target):
        return None
    return chosen.snapshot.guid
