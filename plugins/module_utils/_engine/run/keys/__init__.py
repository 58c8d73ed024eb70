# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Keys: make the key pairs that encrypt and sign."""

from __future__ import annotations

from .keys import KeyWritten, write_age_key, write_signing_key

__all__ = [
    "KeyWritten",
    "write_age_key",
    "write_signing_key",
]
