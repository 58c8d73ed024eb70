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
  - The private key never appears in a result, a diff or a log. Backups need only the public key. Make the private key
    where you will need it, not on the machines that make backups, and keep a copy in another place.
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
      - Permissions of the file. If unset, a new file gets V(0600), and one that exists keeps what it has.
      - A private key that others than its owner can read is refused, here and by the other modules.
requirements:
  - python >= 3.11
  - cryptography >= 48
seealso:
  - module: zrb.fleet.signing_keygen
  - module: zrb.fleet.zfs_restore
"""

EXAMPLES = r"""
- name: Make the key pair that restores will need, on the machine that runs Ansible and on no NAS
  zrb.fleet.age_keygen:
    path: /srv/zrb/age.key
  register: age_key
  delegate_to: localhost
  run_once: true

- name: Make one that every age knows, and that a quantum computer could break
  zrb.fleet.age_keygen:
    path: /srv/zrb/classic.key
    type: classic

- name: Show the public key, which backups are encrypted to
  ansible.builtin.debug:
    var: age_key.public_key

- name: Make the second key pair, which nobody may change
  zrb.fleet.age_keygen:
    path: /srv/zrb/second.key
    mode: "0400"
  delegate_to: localhost
  run_once: true
"""

RETURN = r"""
path:
  description: The file of the private key.
  returned: always
  type: str
  sample: /srv/zrb/age.key
public_key:
  description: The public key; V(null) in check mode if the file does not exist yet.
  returned: success
  type: str
  sample: age1pq1x34nzsvr0rxjsgdn8zgyhfe8j7ceq5r9rdelkjuh3y235jzxshfg87pzf5zr…
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
    from ..module_utils._ansible.key_file import ensure_age_key

    end(module, ensure_age_key)


if __name__ == "__main__":
    main()
