# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A second reader of age files, which shares no line with the first: pyrage, made of the Rust library `age`.

What one implementation wrote and the same one reads proves little about the format. pyrage knows X25519 and no hybrid
keys. It asks its reader for 8 KiB at a time and gives its writer at most 64 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import KeyFileError, LibraryMissing, WrongIdentity
from .age_header import damaged
from .age_keys import parse_identity
from .age_x25519 import X25519Identity


def open_independently(read: Callable[[int], bytes], write: Callable[[bytes], int], identities: Sequence[str]) -> None:
    """Decrypt one part with those of ``identities`` that are classic.

    Raises :class:`KeyFileError` if none is, :class:`WrongIdentity` and :class:`PartDamaged` as
    :meth:`AgeOpener.begin` does. What ``read`` and ``write`` raise comes out unchanged.
    """
    pyrage = _pyrage()
    classic = [text.strip() for text in identities if isinstance(parse_identity(text), X25519Identity)]
    if not classic:
        raise KeyFileError(
            "There is no classic (X25519) age private key, and the second reader knows no other",
            next_step="Read parts for hybrid keys with `age` 1.3 or newer to have a second opinion",
        )
    source, sink = _File(read), _File(write)
    try:
        pyrage.decrypt_io(source, sink, [pyrage.x25519.Identity.from_str(text) for text in classic])
    except (pyrage.DecryptError, OSError) as error:
        for file in (source, sink):
            if file.failure is not None:
                raise file.failure from None
        if str(error) == "No matching keys found":
            raise WrongIdentity(
                "None of the classic age private keys opens this part for the second reader",
                next_step="Give the private key of one of the recipients the backup was made for",
            ) from None
        raise damaged(f"the second reader says: {error}") from None


class _File:
    """A function as the file that pyrage sees. pyrage turns what it raises into text: remember it."""

    def __init__(self, transfer: Callable[[Any], Any]) -> None:
        self._transfer = transfer
        self.failure: BaseException | None = None

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        data: bytes = self._guarded(size)
        return data

    def write(self, data: bytes) -> int:
        """Hand on ``data``; how many bytes were taken."""
        taken: int = self._guarded(data)
        return taken

    def _guarded(self, argument: Any) -> Any:
        try:
            return self._transfer(argument)
        except BaseException as error:
            self.failure = error
            raise


def _pyrage() -> Any:
    try:
        import pyrage
    except ImportError as error:
        raise LibraryMissing.named("pyrage", error) from error
    return pyrage
