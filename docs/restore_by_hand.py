# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""List, verify and restore what zrb.fleet backed up, without zrb.fleet.

It needs Python 3.11, openssl, b3sum, age and zfs. DIR is a repository in a directory, or a copy of all below the prefix
in the bucket; nothing is written there. Parts are copied, one at a time, to TMPDIR. Exit code 1: something is wrong.

  python3 restore_by_hand.py verify /recovery --key zrbsign1...
  python3 restore_by_hand.py restore /recovery tank/home --key zrbsign1... --identity zrb-age.key --receive tank/new
"""

import argparse
import base64
import contextlib
import hashlib
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen, run
from urllib.parse import quote

ID, HASH, GUID = r"\d{8}T\d{6}Z-L[0-4]-[0-9a-f]{8}", r"[0-9a-f]{64}", r"[1-9]\d{0,19}"
TIME, LINE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", r"[^\0-\x1f\x7f-\x9f]{0,1024}"
TEXT, NAME = rf"(?=.){LINE}", r"[^/@#\0-\x1f\x7f-\x9f]+"
DATASET, SNAPSHOT = rf"{NAME}(/{NAME})*", rf"{NAME}(/{NAME})*@{NAME}"
BASE64 = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?"
MIB, NUMBER, POSITIVE, LEVEL = 1 << 20, range(2**63), range(1, 2**63), range(5)
SIGNED, ED25519 = {"keyid": HASH, "sig": BASE64}, bytes.fromhex("302a300506032b6570032100")
ML_DSA = bytes.fromhex("308207b2300b0609608648016503040312038207a100")  # like ED25519, what a key file begins with
ENVELOPE = {"payloadType": LINE, "payload": BASE64, "signatures": [(SIGNED, SIGNED | {"public": BASE64})]}
IDENTITY = {"format": range(1, 2), "repository_id": "[0-9a-f]{32}", "created": TIME}
RETIRED = {"backup_id": ID, "seq": POSITIVE, "manifest_sha256": HASH, "snapshot_guid": GUID,
           "retired": TIME, "reason": TEXT}  # fmt: skip
RECORD = {x: IDENTITY[x] for x in ("format", "repository_id")}
RECORD |= {"host": TEXT, "dataset": DATASET, "backups": [RETIRED]}
VERIFY = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER"]
MANIFEST = IDENTITY | {
    "backup_id": ID, "host": TEXT, "seq": POSITIVE, "previous": (None, HASH), "level": LEVEL, "level_requested": LEVEL,
    "chain": ID, "base": (None, {"backup_id": ID, "snapshot": SNAPSHOT, "guid": GUID}), "part_size": POSITIVE,
    "pool": {"name": TEXT, "guid": GUID}, "tool": TEXT, "properties": dict, "job": dict,
    "dataset": {"name": DATASET, "guid": GUID, "type": "filesystem|volume", "encrypted": (True, False)},
    "snapshot": {"name": SNAPSHOT, "guid": GUID, "createtxg": NUMBER, "creation": TIME},
    "send": {"flags": ["-[Lcw]"], "zfs_version": TEXT, "platform": TEXT}, "stream": {"bytes": POSITIVE, "blake3": HASH},
    "encryption": {"scheme": "age", "recipients": (["age1[02-9a-z]{58}"], ["age1pq1[02-9a-z]{1952}"])},
    "parts": {"key": TEXT, "bytes": POSITIVE, "sha256": HASH, "count": range(1, 10**6 + 1), "stored_bytes": POSITIVE},
}  # fmt: skip
PART = {"index": NUMBER, "key": TEXT, "plain_bytes": POSITIVE, "plain_blake3": HASH, "bytes": POSITIVE, "sha256": HASH,
        "checksum": {"kind": "[a-z0-9-]{1,32}", "value": LINE, "etag": LINE}}  # fmt: skip


def fits(value, shape):
    """A shape is a regular expression, a range, alternatives, a list, an object, or `dict`: an object of texts."""
    if isinstance(shape, tuple):
        return any(value is x or fits(value, x) for x in shape)
    if isinstance(shape, range):
        return isinstance(value, int) and not isinstance(value, bool) and value in shape
    if not isinstance(value, str | list | dict) or not isinstance(value, dict if shape is dict else type(shape)):
        return False
    if isinstance(value, str):
        return re.fullmatch(shape, value, re.ASCII) is not None
    if isinstance(value, list):
        return all(fits(x, shape[0]) for x in value)
    names = dict.fromkeys(value, "(?s:.*)") if shape is dict else shape
    return value.keys() == names.keys() and all(fits(value[x], names[x]) for x in names)


def read_json(text, shape):
    """An object of this shape. One with a name twice becomes `...`, which is of none."""
    value = json.loads(text.decode(), object_pairs_hook=lambda x: dict(x) if len(dict(x)) == len(x) else ...)
    if not fits(value, shape):
        raise ValueError("it has not the fields and values of format 1")
    return value


def public_key(text):
    found = re.fullmatch("zrbsign1(pq1(?=.{109}$)|(?=.{58}$))([a-z2-7]+)", text)
    raw = base64.b32decode(found[2].upper() + "=" * (-len(found[2]) % 8)) if found else b""
    if not found or hashlib.sha256(raw[:-4]).digest()[:4] != raw[-4:]:
        raise argparse.ArgumentTypeError("it is mistyped: a public signing key is zrbsign1 and 58 or 112 characters")
    return raw[:32], {hashlib.sha256(raw[:32]).hexdigest(), raw[32:-4].hex()} - {""}


def open_envelope(options, key, kind):
    """The payload of a manifest or record that a trusted key made: a hybrid one by both signatures, if openssl can."""
    with (options.dir / key).open("rb") as file:
        envelope = read_json(file.read(3 * MIB // 2), ENVELOPE)
    payload, name, right = base64.b64decode(envelope["payload"]), f"application/vnd.zrb.{kind}.v1+json", set()
    message, raw, der = (options.scratch / x for x in ("message", "signature", "key"))
    message.write_bytes(b"DSSEv1 %d %b %d %b" % (len(name), name.encode(), len(payload), payload))
    for one in envelope["signatures"][:16]:
        public = base64.b64decode(one.get("public", "")) or options.keys.get(one["keyid"], (b"",))[0]
        raw.write_bytes(base64.b64decode(one["sig"]))
        der.write_bytes((ML_DSA if len(public) > 32 else ED25519) + public)
        command = [*VERIFY, "-in", message, "-sigfile", raw, "-inkey", der]
        if (len(public) > 32 and not options.ml_dsa) or run(command, capture_output=True, check=False).returncode == 0:
            right.add(hashlib.sha256(public).hexdigest())
    if envelope["payloadType"] != name or (options.keys and not any(x <= right for _kind, x in options.keys.values())):
        raise ValueError(f"no trusted key signed it as a {kind}")
    return payload


def place(host, dataset):
    """The middle of all keys of a series."""
    names = [quote(name, safe="").replace("~", "%7E") for name in (host, *dataset.split("/"))]
    return "/".join(name.replace(".", "%2E") if name in (".", "..") else name for name in names)


def read_manifest(options, key):
    """A manifest that a trusted key signed and that does not contradict itself, with the SHA-256 of its payload."""
    m = read_json(payload := open_envelope(options, key, "manifest"), MANIFEST)
    dataset, level, base = m["dataset"]["name"], m["level"], m["base"] or {"backup_id": "-L-1-"}
    own = f"manifests/{place(m['host'], dataset)}/{m['backup_id']}"
    rules = {
        "length": len(payload) <= MIB, "stored_bytes": m["parts"]["stored_bytes"] > m["stream"]["bytes"],
        "level": f"-L{level}-" in m["backup_id"] and level <= m["level_requested"],
        "repository_id": m["repository_id"] == (options.repository_id or m["repository_id"]),
        "key": key == own + ".json" and m["parts"]["key"] == own + ".parts",
        "chain": "-L0-" in m["chain"] and (m["chain"] == m["backup_id"]) == (level == 0),
        "dataset": m["snapshot"]["name"].startswith(dataset + "@") and dataset.split("/")[0] == m["pool"]["name"],
        "count": m["parts"]["count"] == -(-m["stream"]["bytes"] // m["part_size"]),
        "base": f"-L{level - 1}-" in base["backup_id"], "previous": m["seq"] > 1 or m["previous"] is None,
    }  # fmt: skip
    if wrong := [name for name, holds in rules.items() if not holds]:
        raise ValueError(f"it contradicts itself, its place or zrb.json: {', '.join(wrong)}")
    return m | {"sha256": hashlib.sha256(payload).hexdigest()}


def every_series(options, pattern):
    """The manifests of each series by id, in order, less the retired ones; every number; why others are refused."""
    directories = sorted({path.parent for path in (options.dir / "manifests").glob(pattern)})
    if not directories:
        raise ValueError(f"{options.dir}: manifests/{pattern} is not there; is the copy complete, and the name right?")
    for directory in directories:
        good, gone, refused = {}, set(), []
        for path in sorted(directory.iterdir()):
            key = path.relative_to(options.dir).as_posix()
            try:
                if re.fullmatch(ID + ".json", path.name, re.ASCII):
                    good[path.stem] = read_manifest(options, key)
                elif path.name.endswith(".record") and options.keys:  # else anybody could retire everything
                    record = read_json(open_envelope(options, key, "retirement"), RECORD)
                    named = [(x["seq"], x["backup_id"], x["manifest_sha256"]) for x in record["backups"]]
                    name = f"retired-{len(named):04}-{hashlib.sha256(path.read_bytes()).hexdigest()[:16]}.record"
                    own = f"manifests/{place(record['host'], record['dataset'])}/{name}"
                    ids = {record["repository_id"], options.repository_id or record["repository_id"]}
                    if (key, named) != (own, sorted(set(named))) or len(ids) > 1:
                        raise ValueError("it contradicts itself, its place or zrb.json")
                    gone |= set(named)
            except (OSError, ValueError, RecursionError) as error:
                refused.append(f"{path}: {error}")
        there = {x: m for x, m in good.items() if (m["seq"], x, m["sha256"]) not in gone}
        numbers = {(m["seq"], m["sha256"]) for m in there.values()} | {x[::2] for x in gone if x[1] not in there}
        yield dict(sorted(there.items(), key=lambda x: x[1]["seq"])), numbers, refused


def chain_of(series, m):
    """The backups from level 0 to this one."""
    links = [m]
    while base := (up := links[0])["base"]:
        if (low := series.get(base["backup_id"])) is None:
            raise ValueError(f"{up['backup_id']}: its base {base['backup_id']} is missing or refused")
        one, other = ([x["repository_id"], x["chain"], x["send"]["flags"], x["dataset"]["guid"]] for x in (up, low))
        later = up["seq"] > low["seq"] and up["snapshot"]["createtxg"] > low["snapshot"]["createtxg"]
        if one != other or not later or base["guid"] != low["snapshot"]["guid"]:
            raise ValueError(f"{up['backup_id']}: it does not fit its base {base['backup_id']}")
        links.insert(0, low)
    return links


def private_copy(options, key, length, sha256):
    """A copy of an object that was proved: nobody can exchange it between the proof and the use."""
    source, copy = options.dir / key, options.scratch / key.rpartition(".")[2]
    if source.stat().st_size == length:
        with Path(shutil.copyfile(source, copy)).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == sha256:
                return copy
    raise ValueError(f"{key}: its length or its SHA-256 is not the one that was signed")


def parts_of(options, m):
    """The parts of a backup, from its list that was proved; each is there, with its length."""
    listed, prefix, total = m["parts"], f"data/{place(m['host'], m['dataset']['name'])}/level{m['level']}", 0
    with private_copy(options, listed["key"], listed["bytes"], listed["sha256"]).open("rb") as file:
        for index in range(listed["count"]):
            part = read_json(file.readline(16 << 10), PART)
            plain_bytes = min(m["part_size"], m["stream"]["bytes"] - index * m["part_size"])
            key = f"{prefix}/{m['backup_id']}/snapshot.part-{index:06}.age"
            wanted = (index, key, plain_bytes, (options.dir / key).stat().st_size)
            if tuple(part[x] for x in ("index", "key", "plain_bytes", "bytes")) != wanted or wanted[3] <= plain_bytes:
                raise ValueError(f"{key}: its length, or its line in the list of parts, is another")
            total += part["bytes"]
            yield part
        if file.read(1) or total != listed["stored_bytes"]:
            raise ValueError(f"{listed['key']}: it does not add up to what the manifest says")


def decrypt(options, m, *sinks):
    """Decrypt a backup into the sinks, part by part, and compare BLAKE3; without --identity, only look at the parts."""
    with Popen("b3sum", stdin=PIPE, stdout=PIPE, stderr=DEVNULL) as b3sum:
        for part in parts_of(options, m):
            copy = private_copy(options, part["key"], part["bytes"], part["sha256"])
            if not options.identity:
                continue
            with Popen([options.age, "--decrypt", "--identity", options.identity, copy], stdout=PIPE) as age:
                while piece := age.stdout.read(MIB):
                    for sink in (b3sum.stdin, *sinks):
                        sink.write(piece)
            if age.returncode:
                raise ValueError(f"{part['key']}: {options.age} failed, and said why; hybrid keys need age 1.3 (--age)")
        if b3sum.communicate()[0][:64].decode() != m["stream"]["blake3"] and options.identity:
            raise ValueError(f"{m['backup_id']}: the BLAKE3 of its stream is not the one that was signed")


def show(options):
    """Print every backup that can be restored, so far as the command looks, and return what is wrong."""
    problems = [] if options.repository_id else ["zrb.json: it is missing; restore works without it"]
    print("signed by a --key:" if options.keys else "without --key, so nobody proves who wrote it:", file=sys.stderr)
    for series, numbers, refused in every_series(options, "**/*-L*.json"):
        problems += refused
        for m in list(series.values()):
            try:
                if options.command == "verify":
                    decrypt(options, chain_of(series, m)[-1])
                    if m["seq"] > min(numbers)[0] and (m["seq"] - 1, m["previous"]) not in numbers:
                        problems.append(f"{m['backup_id']}: number {m['seq'] - 1}, before it, is gone or exchanged")
                print(m["backup_id"], m["host"], m["snapshot"]["name"], m["stream"]["bytes"], sep="\t")
            except (OSError, ValueError) as error:
                problems.append(error)
                del series[m["backup_id"]]
    return problems


def restore(options):
    """Look at every object of the chain, prove every stream, and only then write them, from level 0, read-only."""
    name, found, bad = options.backup, [], []
    pattern = f"**/{name}.json" if re.fullmatch(ID, name, re.ASCII) else f"*{place('', name.split('@')[0])}/*-L*.json"
    for series, _backups, refused in every_series(options, pattern):
        bad += refused
        matching = [m for m in series.values() if name in (m["backup_id"], m["dataset"]["name"], m["snapshot"]["name"])]
        young = [m for m in matching if m["dataset"]["guid"] == matching[-1]["dataset"]["guid"]]
        found += [chain_of(series, max(young, key=lambda m: m["snapshot"]["createtxg"]))] if young else []
    if len(found) != 1 or (bad and "**" not in pattern):
        what = f"{len(found)} hosts have it, and {len(bad)} manifests beside it are refused"
        raise ValueError(f"{name}: {what}; name the id of a backup that `list` shows")
    if options.output:
        options.output.mkdir(parents=True)
    elif run(["zfs", "list", options.receive], capture_output=True, check=False).returncode == 0:
        raise ValueError(f"{options.receive}: it exists; name a dataset that does not")
    print(f"{sum(1 for m in found[0] for part in parts_of(options, m))} parts of {len(found[0])} backups are there")
    for m in found[0]:
        decrypt(options, m)
    for m in found[0]:
        print(f"{m['backup_id']} is proved, and written now")
        if options.output:
            with (options.output / f"level{m['level']}-{m['backup_id']}.zfs").open("xb") as file:
                decrypt(options, m, file)
            continue
        usage = run(["zfs", "receive"], stderr=PIPE, check=False).stderr
        command = ["zfs", "receive", *["-u"] * bool(re.search(rb"receive \[-\w*u", usage)), options.receive]
        with contextlib.suppress(BrokenPipeError), Popen(command, stdin=PIPE) as zfs:
            decrypt(options, m, zfs.stdin)
        if zfs.returncode or run(["zfs", "set", "readonly=on", options.receive], check=False).returncode:
            raise ValueError(f"{options.receive}: zfs failed, and said why; destroy it before you try again")
    return []


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("command", choices=["list", "verify", "restore"])
parser.add_argument("dir", metavar="DIR", type=Path)
parser.add_argument("backup", metavar="BACKUP", nargs="?", help="an id, a dataset (its newest) or a snapshot")
parser.add_argument("--key", type=public_key, action="append", default=[], help="trust this public signing key")
parser.add_argument("--allow-unsigned", action="store_true", help="restore without --key, whoever wrote it")
parser.add_argument("--identity", metavar="FILE", help="private age keys; with them, verify decrypts")
parser.add_argument("--age", default="age", help="called as AGE --decrypt --identity FILE PART, writes to stdout")
parser.add_argument("--receive", metavar="DATASET", help="restore into this new dataset")
parser.add_argument("--output", metavar="DIRECTORY", type=Path, help="or into this new directory, a file a level")
options = parser.parse_args()
needs = (options.backup, options.identity, options.key or options.allow_unsigned, options.receive or options.output)
if options.command == "restore" and not (all(needs) and not (options.receive and options.output)):
    parser.error("restore needs BACKUP, --identity, --key or --allow-unsigned, and --receive or --output")
options.keys = {hashlib.sha256(key[0]).hexdigest(): key for key in sorted(options.key, key=lambda x: len(x[1]))}
options.ml_dsa = b"ML-DSA-65" in run(["openssl", "list", "-signature-algorithms"], stdout=PIPE, check=False).stdout
if any(len(ids) > 1 for _kind, ids in options.key) and not options.ml_dsa:
    print("openssl before 3.5 cannot check ML-DSA: Ed25519 alone proves who wrote it", file=sys.stderr)
with tempfile.TemporaryDirectory() as scratch:
    options.scratch, identity = Path(scratch), options.dir / "zrb.json"
    try:
        options.repository_id = identity.exists() and read_json(identity.read_bytes(), IDENTITY)["repository_id"]
        problems = restore(options) if options.command == "restore" else show(options)
    except (OSError, ValueError) as error:
        problems = [error]
if problems:
    sys.exit("\n".join(map(str, [*problems, "Take what is refused from another copy, or choose another backup."])))
