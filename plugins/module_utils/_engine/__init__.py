# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The backup engine. It knows nothing of Ansible, and imports itself by relative names only,
so that the same tree is a part of the collection and the package behind the ``zrb`` command."""
