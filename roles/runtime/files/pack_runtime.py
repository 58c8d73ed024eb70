# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pack what the runtime is built of on a host: ``pack_runtime.py ENGINE DIRECTORY [WHEELHOUSE]``.

The engine becomes a wheel, without any tool, and the same bytes on every controller, since the name of a version on the
hosts depends on its hash. Wheel, requirements and the wheels of a wheelhouse become one archive, which is one file to
carry to each host. Prints where that is, and the version of the engine and its requirements, as JSON.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import sys
import tempfile
import zipfile
from pathlib import Path

_METADATA = "Metadata-Version: 2.1\nName: zrb-fleet\nVersion: {version}\nRequires-Python: >=3.11\n"
_WHEEL = "Wheel-Version: 1.0\nGenerator: zrb.fleet\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_ENTRY_POINTS = "[console_scripts]\nzrb = zrb.cli:main\n"


def version_of(engine: Path) -> str:
    """What ``version.py`` says."""
    found = re.search(r'^VERSION = "([^"]+)"$', (engine / "version.py").read_text(encoding="utf-8"), re.MULTILINE)
    if not found:
        raise SystemExit(f"{engine / 'version.py'} names no version: is this the collection's engine?")
    return found.group(1)


def wheel_of(engine: Path, version: str) -> bytes:
    """The wheel, as packaging.python.org/specifications/binary-distribution-format describes it."""
    information = f"zrb_fleet-{version}.dist-info"
    files = {f"zrb/{path.relative_to(engine).as_posix()}": path.read_bytes() for path in engine.rglob("*.py")}
    files[f"{information}/METADATA"] = _METADATA.format(version=version).encode()
    files[f"{information}/WHEEL"] = _WHEEL.encode()
    files[f"{information}/entry_points.txt"] = _ENTRY_POINTS.encode()
    record = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in sorted(files.items())]
    files[f"{information}/RECORD"] = "".join([*record, f"{information}/RECORD,,\n"]).encode()
    packed = io.BytesIO()
    # Stored: what compression makes of it depends on the version of zlib.
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as wheel:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, content)
    return packed.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def main(engine: Path, directory: Path, wheelhouse: Path | None) -> None:
    """Write the archive into ``directory``, in one step."""
    version = version_of(engine)
    wheel = wheel_of(engine, version)
    lock = Path(__file__).with_name("requirements.txt").read_text(encoding="utf-8")
    requirements = f"{lock}zrb-fleet=={version} --hash=sha256:{hashlib.sha256(wheel).hexdigest()}\n"
    wheels = sorted(wheelhouse.glob("*.whl")) if wheelhouse else []
    if wheelhouse and not wheels:
        raise SystemExit(
            f"runtime_wheelhouse {wheelhouse} holds no wheels. Give the absolute path of a directory that does."
        )
    path = directory / "zrb-runtime.zip"
    with tempfile.NamedTemporaryFile(dir=directory, delete=False) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("requirements.txt", requirements)
        archive.writestr(f"zrb_fleet-{version}-py3-none-any.whl", wheel)
        for found in wheels:
            archive.write(found, found.name)
    Path(file.name).replace(path)
    print(json.dumps({"version": version, "requirements": requirements, "archive": str(path)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if sys.argv[3:] else None)
