#!/usr/bin/python
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The module zrb.fleet.signing_keygen."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_keygen
short_description: Make the key pair that signs backups
version_added: 0.1.0
author:
  - zrb.fleet contributors (@zrb-fleet)
description:
  - Writes an Ed25519 private key to a file that only its owner can read, and returns the public key that belongs to it.
  - With the private key, O(zrb.fleet.zfs_backup#module:signing_key), a machine signs the manifest of every backup.
    With the public key, O(zrb.fleet.zfs_restore#module:trusted_signers), a restore knows that nobody else wrote it.
  - A file that exists is never overwritten, and a file that is not a signing key is an error.
  - The private key never appears in a result, a diff or a log. Each machine should have one of its own.
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
  mode:
    description:
      - Permissions of the file; V(0600) where none are given.
      - The other modules refuse a private key that others than its owner can read.
requirements:
  - cryptography >= 42
seealso:
  - module: zrb.fleet.age_keygen
  - module: zrb.fleet.zfs_backup
"""

EXAMPLES = r"""
- name: Give this machine a key to sign its backups with
  zrb.fleet.signing_keygen:
    path: /etc/zrb/signing.key
  register: signing_key

- name: Remember the public keys of all machines on the controller, for the day of the restore
  ansible.builtin.copy:
    content: "{{ signing_key.public_key }}\n"
    dest: /srv/zrb/{{ inventory_hostname }}.signer
    mode: "0644"
  delegate_to: localhost
"""

RETURN = r"""
path:
  description: The file of the private key.
  returned: always
  type: str
  sample: /etc/zrb/signing.key
public_key:
  description: The public key; V(null) in check mode where the file does not exist yet.
  returned: success
  type: str
  sample: zrbsign1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs8ez5wr
"""

from ..module_utils._ansible.key_file import create_key_module, ensure_key
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import fail_from
from ..module_utils._engine.errors import EngineError
from ..module_utils._engine.run.keys import write_signing_key


def main() -> None:
    """Run the module."""
    module = create_key_module()
    require(module, "cryptography")
    try:
        result = ensure_key(module, write_signing_key)
    except EngineError as error:
        fail_from(module, error)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
