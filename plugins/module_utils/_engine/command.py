# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``python -m zrb.command``: the same as the ``zrb`` command, where only an interpreter is known."""

from __future__ import annotations

from .cli import main

if __name__ == "__main__":
    raise SystemExit(main())
