# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List: the committed backups of a repository."""

from __future__ import annotations

from .list import ALL_HOSTS, ListedBackup, Listing, compile_query, list_backups

__all__ = [
    "ALL_HOSTS",
    "ListedBackup",
    "Listing",
    "compile_query",
    "list_backups",
]
