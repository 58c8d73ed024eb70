# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``zrb genkey`` and ``zrb signing-key``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import add_command
from .output import put
from .session import Session

if TYPE_CHECKING:
    from ..run.keys import KeyWritten

AGE_KEY = Path("zrb-age.key")
SIGNING_KEY = Path("/etc/zrb/signing.key")

_AGE_EXAMPLE = """\
  zrb genkey --output /media/usb/zrb-age.key
Keep the file away from the NAS, with a copy on paper: no backup can be read without it."""
_SIGNING_EXAMPLE = """\
  zrb signing-key --output /etc/zrb/signing.key
Add the public key to `trusted_signers` on every machine that restores."""


def add_to(commands: Any) -> None:
    """Add the commands to the parser."""
    age = add_command(
        commands,
        "genkey",
        run_genkey,
        summary="create an age key pair; its private key decrypts the backups",
        example=_AGE_EXAMPLE,
        dry_run=True,
    )
    age.add_argument(
        "--output", metavar="FILE", type=Path, default=AGE_KEY, help="private key file (default: %(default)s)"
    )
    age.add_argument(
        "--classic",
        action="store_true",
        help="make an X25519 key, which every `age` reads, instead of one that is also safe from quantum computers "
        "(`age` 1.3)",
    )
    signing = add_command(
        commands,
        "signing-key",
        run_signing_key,
        summary="create the key pair that signs manifests",
        example=_SIGNING_EXAMPLE,
        dry_run=True,
    )
    signing.add_argument(
        "--output", metavar="FILE", type=Path, default=SIGNING_KEY, help="private key file (default: %(default)s)"
    )
    signing.add_argument(
        "--classic",
        action="store_true",
        help="make an Ed25519 key, instead of one that signs with ML-DSA-65 besides, which no quantum computer forges",
    )


def run_genkey(session: Session) -> int:
    """Run ``genkey``."""
    from ..run.keys import write_age_key

    return _write(session, write_age_key, "Add the public key to age_recipients, and keep the file away from the NAS")


def run_signing_key(session: Session) -> int:
    """Run ``signing-key``."""
    from ..run.keys import write_signing_key

    return _write(session, write_signing_key, "Add the public key to trusted_signers on every machine that restores")


def _write(session: Session, write: Any, advice: str) -> int:
    path: Path = session.args.output
    if session.args.dry_run:
        exists = path.exists()
        answer = "exists and would not be changed" if exists else "would be written"
        session.give({"exit_code": 0, "path": str(path), "created": not exists}, lambda: put(f"{path} {answer}"))
        return 0
    key: KeyWritten = write(path, kind="classic" if session.args.classic else "hybrid")
    document = {"exit_code": 0, "path": str(key.path), "public_key": key.public, "created": key.created}
    session.give(document, lambda: _show(key, advice))
    return 0


def _show(key: KeyWritten, advice: str) -> None:
    put(f"{key.path} {'written' if key.created else 'already exists and was not changed'}")
    put(f"public key: {key.public}")
    put(f"{advice}.")
