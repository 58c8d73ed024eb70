# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The two kinds of age public keys, told apart by their prefix. Only the room ``seal`` checks that a key is valid."""

from __future__ import annotations

from typing import Literal

KeyKind = Literal["classic", "hybrid"]
"""``classic`` is X25519 (``age1…``), ``hybrid`` ML-KEM-768 with X25519 (``age1pq1…``)."""


def kind_of(recipient: str) -> KeyKind:
    """The kind of a public key."""
    return "hybrid" if recipient.startswith("age1pq1") else "classic"


def shown(recipient: str) -> str:
    """A public key for a message. Shortens a hybrid key, which has 1,959 characters, to its beginning and its end."""
    return recipient if len(recipient) <= 80 else f"{recipient[:24]}…{recipient[-8:]}"
