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
  - Writes a private key to a file that only its owner can read, and returns the public key that belongs to it.
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
      - Shows that the file appears or that its permissions change, never its content.
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
      - V(hybrid) signs with Ed25519 and with ML-DSA-65, so that a quantum computer of the future does not forge backups
        either. Whoever trusts the key wants both signatures.
      - V(classic) signs with Ed25519 alone.
    type: str
    choices:
      - hybrid
      - classic
    default: hybrid
  mode:
    description:
      - Permissions of the file. If unset, a new file gets V(0600), and one that exists keeps what it has.
      - A private key that others than its owner can read is refused, here and by the other modules.
requirements:
  - python >= 3.11
  - cryptography >= 48
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
  description: The public key; V(null) in check mode if the file does not exist yet.
  returned: success
  type: str
  sample: zrbsign1pq1chmnm4la3x34lkgdfel6dy7bl4zb…
error:
  description: Kind of the failure, such as V(KeyFileError).
  returned: failure
  type: str
  sample: KeyFileError
exit_code:
  description: The exit code that the C(zrb) command has for this failure.
  returned: failure
  type: int
  sample: 2
problem:
  description: What was tried, and on which object.
  returned: failure
  type: str
  sample: The key file /etc/zrb/x.key cannot be written
subject:
  description: The object alone.
  returned: failure
  type: str
  sample: /etc/zrb/x.key
answer:
  description: What the operating system said.
  returned: failure
  type: str
  sample: No such file or directory
next_step:
  description: What to do about it.
  returned: failure
  type: str
  sample: Make sure that the directory /etc/zrb exists, has room, and lets you write
"""

from ..module_utils._ansible.arguments import KEY_FILE
from ..module_utils._ansible.requirements import require
from ..module_utils._ansible.results import end


def main() -> None:
    """Run the module."""
    module = KEY_FILE.create_module(add_file_common_args=True)
    require(module, "cryptography")
    # Only now, since what it imports needs the Python that was asked for.
    from ..module_utils._ansible.key_file import ensure_signing_key

    end(module, ensure_signing_key)


if __name__ == "__main__":
    main()
