#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.age_keygen."""

from __future__ import annotations

DOCUMENTATION = r"""
module: age_keygen
short_description: Make an age key pair for backups
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Writes a private age key (an identity) to a file that only its owner can read, and returns the public key (the
    recipient) that belongs to it.
  - A file that exists is never overwritten, and a file that is not an age identity is an error.
  - The private key never appears in a result, a diff or a log. Backups need only the public key. Keep the private key
    away from the machines that make backups, with a copy that survives the loss of this one.
extends_documentation_fragment:
  - ansible.builtin.files
  - zrb.fleet.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode, RV(public_key) of a key that would be made is not known.
  diff_mode:
    support: full
    details:
      - Shows that the file appears, never its content.
  idempotent:
    support: full
options:
  path:
    description:
      - The file of the private key. Its directory must exist.
    type: path
    required: true
  type:
    description:
      - The kind of the key that is made. A file that exists keeps its key, of whichever kind.
      - V(hybrid) is ML-KEM-768 together with X25519, so that a quantum computer of the future does not read the backups
        either. Other programs need C(age) 1.3 or newer for it.
      - V(classic) is X25519, which every C(age) knows.
      - The recipients of one configuration are of one kind. Another kind begins a new chain with a level 0.
    type: str
    choices:
      - hybrid
      - classic
    default: hybrid
  mode:
    description:
      - Permissions of the file; V(0600) where none are given.
      - The other modules refuse a private key that others than its owner can read.
requirements:
  - cryptography >= 48
seealso:
  - module: zrb.fleet.signing_keygen
  - module: zrb.fleet.zfs_restore
"""

EXAMPLES = r"""
- name: Make the key pair that restores will need
  zrb.fleet.age_keygen:
    path: /etc/zrb/age.key
  register: age_key

- name: Make one that every age knows, and that a quantum computer could break
  zrb.fleet.age_keygen:
    path: /srv/zrb/classic.key
    type: classic

- name: Show the public key, which backups are encrypted to
  ansible.builtin.debug:
    var: age_key.public_key

- name: Make a key pair on the machine that runs Ansible, for its user alone
  zrb.fleet.age_keygen:
    path: /srv/zrb/restore.key
    mode: "0400"
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file of the private key.
  returned: always
  type: str
  sample: /etc/zrb/age.key
public_key:
  description: The public key; V(null) in check mode where the file does not exist yet.
  returned: success
  type: str
  sample: age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zr…
"""

from ..module_utils._ansible.key_file import AGE_KEY_FILE, create_key_module, ensure_key
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import fail_from
from ..module_utils._engine.errors import EngineError
from ..module_utils._engine.run.keys import write_age_key


def main() -> None:
    """Run the module."""
    module = create_key_module(AGE_KEY_FILE)
    require(module, "cryptography")
    try:
        result = ensure_key(module, lambda path: write_age_key(path, kind=module.params["type"]))
    except EngineError as error:
        fail_from(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
