# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON of a manifest's payload: written in one form, read strictly (docs/format.md, "Manifest")."""

from __future__ import annotations

from typing import Final

from ..errors import ManifestInvalid
from ..version import VERSION
from .json_records import read_record, write_record
from .manifest import Manifest
from .manifest_rules import check_manifest
from .strict_json import Record, canonical_json, parse_object

FORMAT: Final = 1
MAX_PAYLOAD_BYTES: Final = 1024 * 1024
"""The most a payload may have: most have a kilobyte or two, and the properties of a dataset can be many."""


def encode_manifest(manifest: Manifest) -> bytes:
    """The payload of ``manifest``: UTF-8 JSON, names sorted, no spaces, times in whole seconds.

    What it gives, :func:`decode_manifest` accepts. Raises :class:`ManifestInvalid` if the manifest breaks a rule
    of the format, so that nothing is signed that would be refused when it is needed.
    """
    try:
        payload = canonical_json(write_record(manifest))
    except ValueError as error:
        raise _invalid(str(error)) from None
    decode_manifest(payload)
    return payload


def decode_manifest(payload: bytes) -> Manifest:
    """The manifest in ``payload``. Raises :class:`ManifestInvalid` for everything that format 1 does not allow."""
    try:
        record = parse_object(payload, limit=MAX_PAYLOAD_BYTES)
        check_format(record)
        manifest = read_record(Manifest, record)
        check_manifest(manifest)
    except ValueError as error:
        raise _invalid(str(error)) from None
    return manifest


def _invalid(reason: str) -> ManifestInvalid:
    return ManifestInvalid(
        f"The manifest is not valid: it {reason}",
        next_step="It was damaged or not written by zrb: restore that object from a copy, or use another backup",
    )


def check_format(record: Record) -> None:
    """Raise :class:`ManifestInvalid` for a record of a format of the future, which may have other fields."""
    number = record.get("format")
    if isinstance(number, int) and number > FORMAT:
        raise ManifestInvalid(
            f"The format is {number}, and this is zrb {VERSION}, which reads format {FORMAT}",
            next_step=f"Use a version of zrb that reads format {number}",
        )
