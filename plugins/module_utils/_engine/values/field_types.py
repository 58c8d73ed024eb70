# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The types of the fields in records: each word of docs/format.md with its rule."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from .json_records import by_name, listed, one_of, text, time, whole
from .repository_names import BACKUP_ID_PATTERN, MAX_LEVEL, BackupId

MAX_PARTS: Final = 1_000_000
"""The six digits in a part's key can count this many."""
_MAX_NAME: Final = 1024
"""Characters of a name: the longest object key of S3, and four times the longest name of ZFS."""
_CONTROLS: Final = r"\u0000-\u001f\u007f-\u009f"
_COMPONENT: Final = rf"[^/@#{_CONTROLS}]+"
_DATASET: Final = rf"{_COMPONENT}(/{_COMPONENT})*"

_line = text(f"text of at most {_MAX_NAME} characters without control characters", f"[^{_CONTROLS}]*", most=_MAX_NAME)
_name = text(f"text of 1 to {_MAX_NAME} characters without control characters", f"[^{_CONTROLS}]+", most=_MAX_NAME)
_any_text = text("text of at most a million characters", r"[\s\S]*", most=1_000_000)
_hash = text("64 lowercase hex digits", "[0-9a-f]{64}", most=64)
_recipient = text("a native age public key", "age1([02-9ac-hj-np-z]{58}|pq1[02-9ac-hj-np-z]{1952})", most=1959)

Count = Annotated[int, whole()]
Positive = Annotated[int, whole(1)]
Level = Annotated[int, whole(0, MAX_LEVEL)]
PartIndex = Annotated[int, whole(0, MAX_PARTS - 1)]
PartCount = Annotated[int, whole(1, MAX_PARTS)]
Time = Annotated[datetime, time()]
Line = Annotated[str, _line]
Name = Annotated[str, _name]
Texts = Annotated[dict[str, str], by_name(_name, _any_text)]
Reason = Annotated[str, text("text of 1 to 200 characters without control characters", f"[^{_CONTROLS}]+", most=200)]
Hash = Annotated[str, _hash]
"""SHA-256 or BLAKE3."""
Guid = Annotated[
    str,
    text(
        "a guid: a 64-bit number, written in decimal as text",
        "[1-9][0-9]{0,19}",
        most=20,
        holds=lambda digits: int(digits) < 2**64,
    ),
]
DatasetName = Annotated[str, text("the full name of a dataset", _DATASET, most=_MAX_NAME)]
SnapshotName = Annotated[str, text("the full name of a snapshot", f"{_DATASET}@{_COMPONENT}", most=_MAX_NAME)]
RepositoryId = Annotated[str, text("32 lowercase hex digits", "[0-9a-f]{32}", most=32)]
AnyBackupId = Annotated[BackupId, text("a backup id", BACKUP_ID_PATTERN, most=28)]
PartKey = Annotated[
    str, text("the key of a part", r"data/[A-Za-z0-9._%/-]+/snapshot\.part-[0-9]{6}\.age", most=_MAX_NAME)
]
PartListKey = Annotated[str, text("the key of a list of parts", r"manifests/[A-Za-z0-9._%/-]+\.parts", most=_MAX_NAME)]
ChecksumKind = Annotated[str, text("1 to 32 lowercase letters, digits and dashes", "[a-z0-9-]{1,32}", most=32)]
SendFlags = Annotated[tuple[str, ...], listed(one_of("-L", "-c", "-w"), least=0, most=3)]
Recipients = Annotated[tuple[str, ...], listed(_recipient, least=1, most=32)]
