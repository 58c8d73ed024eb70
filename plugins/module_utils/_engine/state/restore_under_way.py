# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Notes that a restore into a target is under way, and its token. If it is killed, the next run finds this note and
knows what of the target is its own, and that the last word has not been said."""

from __future__ import annotations

from pathlib import Path

from ..errors import LocalStateError
from .durable_files import replace_durably
from .locks import dataset_state_dir

_NAME = ".restore-under-way"


def note_restore(base_dir: Path, target: str, *, token: str) -> None:
    """Write down the token that ``target`` bears from now on. Raises :class:`LocalStateError`."""
    try:
        replace_durably(dataset_state_dir(base_dir, target) / _NAME, f"{token}\n")
    except OSError as error:
        raise LocalStateError(
            f"The note of the restore into {target} could not be written in {base_dir}",
            subject=target,
            answer=error.strerror or str(error),
            next_step="Make base_dir writable and free some space, then run the same command again",
        ) from error


def noted_token(base_dir: Path, target: str) -> str | None:
    """The token of an unfinished restore into ``target``. Raises :class:`LocalStateError`."""
    try:
        text = (dataset_state_dir(base_dir, target) / _NAME).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LocalStateError(
            f"The note of the restore into {target} could not be read in {base_dir}",
            subject=target,
            answer=error.strerror or str(error),
            next_step="Make base_dir readable for this user, then run the same command again",
        ) from error
    return text.strip() or None


def forget_restore(base_dir: Path, target: str) -> None:
    """The restore is complete."""
    (dataset_state_dir(base_dir, target) / _NAME).unlink(missing_ok=True)
