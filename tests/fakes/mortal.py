# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run that is killed at any call, inside this process, so that the fakes keep what it did until then."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from zrb.run.context import Context

from tests.fakes.store import MemoryUpload


class Killed(BaseException):
    """The process is dead. Whatever it still does on its way out has no effect."""


class Life:
    """Ends at the ``nth`` moment: a call to the store or to ZFS has two, before and after; a checkpoint is one.

    A process that is killed runs no ``finally``. This one does, so nothing that it does after its death counts: every
    call raises :class:`Killed` again, and :meth:`bury` puts the files below ``state`` back as they were at that moment.
    """

    def __init__(self, nth: int | None, state: Path) -> None:
        self._left = nth
        self._state = state
        self._as_it_was = state.with_name(f"{state.name}.killed")
        self._lock = threading.Lock()
        self.ended = False

    def moment(self) -> None:
        """Die, if it is time."""
        with self._lock:
            if self._left is not None and not self.ended:
                self._left -= 1
                if not self._left:
                    self._keep_files()
                    self.ended = True
            if self.ended:
                raise Killed

    def context(self, context: Context) -> Context:
        """``context``, in which every call is a moment."""
        open_store = context.open_store
        return replace(
            context,
            zfs=_Mortal(context.zfs, self.moment),
            open_store=lambda: _Mortal(open_store(), self.moment),
            checkpoint=lambda _name: self.moment(),
        )

    def bury(self) -> None:
        """Undo what was done to files after the death."""
        if self.ended:
            shutil.rmtree(self._state, ignore_errors=True)
            self._as_it_was.rename(self._state)

    def _keep_files(self) -> None:
        shutil.rmtree(self._as_it_was, ignore_errors=True)
        self._as_it_was.mkdir()
        for path in sorted(self._state.rglob("*")):
            copy = self._as_it_was / path.relative_to(self._state)
            with suppress(FileNotFoundError):  # another thread of the dying process removes it
                if path.is_dir():
                    copy.mkdir(exist_ok=True)
                else:
                    shutil.copy2(path, copy)


class _Mortal:
    """Hands every call on while there is life."""

    def __init__(self, inner: Any, moment: Callable[[], None]) -> None:
        self._inner = inner
        self._moment = moment

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **options: Any) -> Any:
            self._moment()
            result = value(*arguments, **options)
            self._moment()
            return _Mortal(result, self._moment) if isinstance(result, MemoryUpload) else result

        return call
