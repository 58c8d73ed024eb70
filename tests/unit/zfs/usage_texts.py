# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What ``zfs`` without arguments prints, by version."""

from __future__ import annotations

ZFS_FUSE = """missing command
usage: zfs command args ...
where 'command' is one of the following:

\tcreate [-p] [-o property=value] ... <filesystem>
\tcreate [-ps] [-b blocksize] [-o property=value] ... -V <size> <volume>
\tdestroy [-rRf] <filesystem|volume>
\tdestroy [-rRd] <snapshot>

\tsnapshot [-r] [-o property=value] ... <filesystem@snapname|volume@snapname>
\trollback [-rRf] <snapshot>
\tget [-rHp] [-d max] [-o "all" | field[,...]] [-s source[,...]]
\t    <"all" | property[,...]> [filesystem|volume|snapshot] ...

\tsend [-RDp] [-[iI] snapshot] <snapshot>
\treceive [-vnF] <filesystem|volume|snapshot>
\treceive [-vnF] -d <filesystem>

\thold [-r] <tag> <snapshot> ...
\tholds [-r] <snapshot> ...
\trelease [-r] <tag> <snapshot> ...
"""

OPENZFS_0_7 = """missing command
usage: zfs command args ...
where 'command' is one of the following:

\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...
\trollback [-rRf] <snapshot>
\tbookmark <snapshot> <bookmark>

\tget [-rHp] [-d max] [-o "all" | field[,...]]
\t    [-t type[,...]] [-s source[,...]]
\t    <"all" | property[,...]> [filesystem|volume|snapshot|bookmark] ...

\tsend [-DnPpRvLec] [-[iI] snapshot] <snapshot>
\tsend [-Le] [-i snapshot|bookmark] <filesystem|volume|snapshot>
\tsend [-nvPe] -t <receive_resume_token>
\treceive [-vnsFu] <filesystem|volume|snapshot>
\treceive [-vnsFu] [-o origin=<snapshot>] [-d | -e] <filesystem>
\treceive -A <filesystem|volume>
"""

OPENZFS_0_8 = """missing command
usage: zfs command args ...
where 'command' is one of the following:

\tversion

\tdestroy [-dnpRrv] <filesystem|volume>@<snap>[%<snap>][,...]
\tdestroy <filesystem|volume>#<bookmark>

\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...
\trollback [-rRf] <snapshot>
\tbookmark <snapshot> <bookmark>
\tprogram [-jn] [-t <instruction limit>] [-m <memory limit (b)>]
\t    <pool> <program file> [lua args...]

\tsend [-DnPpRvLecwhb] [-[i|I] snapshot] <snapshot>
\tsend [-nvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>
\tsend [-nvPe] -t <receive_resume_token>
\treceive [-vnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    <filesystem|volume|snapshot>
\treceive [-vnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    [-d | -e] <filesystem>
\treceive -A <filesystem|volume>
"""

OPENZFS_2_1 = """missing command
usage: zfs command args ...
where 'command' is one of the following:

\tversion

\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...
\trollback [-rRf] <snapshot>
\tbookmark <snapshot|bookmark> <newbookmark>

\tsend [-DnPpRVvLecwhb] [-[i|I] snapshot] <snapshot>
\tsend [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>
\tsend [-DnPpVvLec] [-i bookmark|snapshot] --redact <bookmark> <snapshot>
\tsend [-nVvPe] -t <receive_resume_token>
\tsend [-PnVv] --saved filesystem
\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    <filesystem|volume|snapshot>
\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    [-d | -e] <filesystem>
\treceive -A <filesystem|volume>
"""

OPENZFS_2_2 = """missing command
usage: zfs command args ...
where 'command' is one of the following:

\tversion

\tsnapshot [-r] [-o property=value] ... <filesystem|volume>@<snap> ...
\trollback [-rRf] <snapshot>
\tbookmark <snapshot|bookmark> <newbookmark>

\tsend [-DLPbcehnpsVvw] [-i|-I snapshot]
\t     [-R [-X dataset[,dataset]...]]     <snapshot>
\tsend [-DnVvPLecw] [-i snapshot|bookmark] <filesystem|volume|snapshot>
\tsend [-DnPpVvLec] [-i bookmark|snapshot] --redact <bookmark> <snapshot>
\tsend [-nVvPe] -t <receive_resume_token>
\tsend [-PnVv] --saved filesystem
\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    <filesystem|volume|snapshot>
\treceive [-vMnsFhu] [-o <property>=<value>] ... [-x <property>] ...
\t    [-d | -e] <filesystem>
\treceive -A <filesystem|volume>

For further help on a command or topic, run: zfs help [<topic>]
"""
