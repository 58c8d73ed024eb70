# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The layer between Ansible and the engine, private to this collection: parameters become engine values, results
become JSON, errors become ``fail_json``. Nothing else under ``module_utils`` imports ``ansible``."""
