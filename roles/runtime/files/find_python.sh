#!/bin/sh
# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Print "VERSION PATH" of a Python that an environment can be made with; if there is none, say what is here.
# Usage: find_python.sh [PYTHON]

asked='
import sys
version = "%d.%d" % sys.version_info[:2]
if sys.version_info[:2] < (3, 11):
    sys.exit("is " + version)
try:
    import ensurepip, ssl, venv
except ImportError as error:
    sys.exit("is %s and lacks %s" % (version, error.name))
print(version + " " + sys.executable)
'

if [ -n "$1" ]; then
    set -- "$1"
else
    set -- python3 python3.11 python3.12 python3.13 python3.14
fi
said=""
for candidate in "$@"; do
    path=$(command -v "$candidate" 2>/dev/null) || continue
    if answer=$("$path" -c "$asked" 2>&1); then
        echo "$answer"
        exit 0
    fi
    said="$said${said:+; }$path $answer"
done
echo "${said:-none of $* was found}"
exit 1
