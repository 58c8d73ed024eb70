# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine advises in the words of its command: ``--target``, ``zrb list``. Modules have the same options under
nearly the same names, so one rule turns such a word into theirs. Runs on any Python that Ansible does."""

from __future__ import annotations

import re

MODULE_OF = {
    "backup": "zfs_backup",
    "cleanup": "zfs_cleanup",
    "cost": "cost_info",
    "genkey": "age_keygen",
    "jobs": "job_info",
    "list": "zfs_backup_info",
    "restore": "zfs_restore",
    "signing-key": "signing_keygen",
    "snapshot": "zfs_snapshot",
}
"""Commands that are modules too, but for `verify`: what the engine says of it is how to accept a loss, and a module
leaves that to a human. The others stay what they are: commands on the machine itself."""
RENAMED = {"dry-run": "check_mode", "output": "path", "trusted-signer": "trusted_signers"}
"""Options of the command that a module has under another name; all others differ in their hyphens alone."""

_COMMAND = re.compile(r"`(?:zrb (?P<command>[a-z-]+)(?P<options>[^`]*)|[^`]*)`|(?<![\w-])--(?P<option>[a-z][a-z-]+)")


def in_words_of_modules(text: str) -> str:
    """``text`` with modules and their options in place of commands and theirs. Other quoted text is left alone."""
    return _COMMAND.sub(_translated, text)


def _translated(found: re.Match[str]) -> str:
    if found["option"]:
        return _option(found["option"])
    if found["command"] not in MODULE_OF:
        return found[0]
    module = f"zrb.fleet.{MODULE_OF[found['command']]}"
    options = _options(found["options"])
    return f"{module} with {', '.join(options)}" if options else module


def _options(text: str) -> list[str]:
    options = []
    for words in text.split("--")[1:]:
        name, _blank, value = words.strip().partition(" ")
        options.append(f"{_option(name)}: {value or 'true'}")
    return options


def _option(name: str) -> str:
    return RENAMED.get(name, name.replace("-", "_"))
