# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Open one part for a hybrid key where `age` is older than 1.3: python3 open_hybrid_part.py KEY-FILE PART > stream

It needs Python 3 and its library `cryptography`, 48 or newer, and nothing else. The format is https://c2sp.org/age.
It writes piece after piece: with a status other than 0, what it wrote is not the whole part.
"""

import base64
import hashlib
import hmac
import sys
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


def derive(secret, salt, info):
    return HKDF(hashes.SHA256(), 32, salt, info).derive(secret)


def decode(text):
    return base64.b64decode(text + b"=" * (-len(text) % 4))


def private_key(line):
    """The key in a line AGE-SECRET-KEY-PQ-1…: 32 bytes in Bech32, which SHAKE256 makes two keys of."""
    number = 0
    for letter in line.rpartition("1")[2][:52].lower():
        number = number << 5 | "qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter)
    seed = hashlib.shake_256((number >> 4).to_bytes(32, "big")).digest(96)
    return hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(seed[:64]), x25519.X25519PrivateKey.from_private_bytes(seed[64:])
    )


def read_header(file):
    """The stanzas (their arguments and their body), the bytes that the MAC is over, and the MAC."""
    lines, stanzas = [file.readline()], []
    if lines[0] != b"age-encryption.org/v1\n":
        sys.exit("This is not an age file")
    while True:
        line = file.readline()
        if line.startswith(b"--- "):
            return stanzas, b"".join(lines) + b"---", decode(line[4:-1])
        if not line.startswith(b"-> "):
            sys.exit("The header is damaged")
        lines.append(line)
        stanzas.append([line.split()[1:], b""])
        while True:  # a body ends with a line shorter than 64
            lines.append(file.readline())
            stanzas[-1][1] += lines[-1].rstrip(b"\n")
            if len(lines[-1]) < 65:
                break


def file_key(keys, stanzas):
    for key in keys:
        for arguments, body in stanzas:
            if arguments[0] == b"mlkem768x25519":
                try:
                    sealed = decode(arguments[1]) + decode(body)
                    return SUITE.decrypt(sealed, key, info=b"age-encryption.org/mlkem768x25519")
                except InvalidTag:
                    continue
    sys.exit("No key in the file opens this part")


key_lines = Path(sys.argv[1]).read_text().splitlines()
with Path(sys.argv[2]).open("rb") as part:
    recipients, authenticated, mac = read_header(part)
    secret = file_key([private_key(x.strip()) for x in key_lines if x.startswith("AGE-SECRET-KEY-PQ-1")], recipients)
    if not hmac.compare_digest(mac, hmac.digest(derive(secret, b"", b"header"), authenticated, "sha256")):
        sys.exit("The header was changed")
    cipher = ChaCha20Poly1305(derive(secret, part.read(16), b"payload"))
    number, piece, following = 0, part.read(65552), b"more"
    while following:
        following = part.read(65552)
        nonce = number.to_bytes(11, "big") + (b"\0" if following else b"\1")
        try:
            sys.stdout.buffer.write(cipher.decrypt(nonce, piece, None))
        except InvalidTag:
            sys.exit(f"Piece {number} is damaged, or the part is cut off")
        number, piece = number + 1, following
