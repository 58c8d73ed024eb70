# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What an S3 endpoint can do, and how to write to it."""

from __future__ import annotations

from dataclasses import dataclass

from ..values.config import ChecksumMode


@dataclass(frozen=True, slots=True)
class EndpointFeatures:
    """What an endpoint was seen to do. ``None`` means unknown: no permission to try, or no repository yet."""

    conditional_writes: bool | None = None
    """It refuses ``If-None-Match: *`` if the key exists."""
    checksum_rejected: bool | None = None
    """It refuses bytes that do not have the SHA-256 sent with them."""
    checksum_stored: bool | None = None
    """It keeps the SHA-256 and returns it."""
    content_md5_checked: bool | None = None
    """It refuses bytes that do not have the Content-MD5 sent with them."""

    @property
    def known(self) -> bool:
        """Whether all features are known."""
        return None not in (
            self.conditional_writes,
            self.checksum_rejected,
            self.checksum_stored,
            self.content_md5_checked,
        )


@dataclass(frozen=True, slots=True)
class WriteGuards:
    """What a write sends besides its bytes, so that the endpoint can refuse it."""

    conditional: bool
    sha256: bool
    md5: bool
    returned: bool = False
    """A genuine reply to a write repeats the SHA-256: a reply without it proves nothing."""


UNGUARDED = WriteGuards(conditional=False, sha256=False, md5=False)


def write_guards(features: EndpointFeatures, mode: ChecksumMode) -> WriteGuards:
    """What to send to an endpoint with ``features``. Send a header whose support is unknown: an endpoint that does not
    know it ignores it or says so."""
    sha256_useful = features.checksum_rejected is not False or features.checksum_stored is True
    sha256 = mode == "required" or (mode == "auto" and sha256_useful)
    return WriteGuards(
        conditional=features.conditional_writes is not False,
        sha256=sha256,
        md5=mode != "off" and features.checksum_rejected is not True and features.content_md5_checked is True,
        returned=sha256 and features.checksum_stored is True,
    )
