# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server does with what zrb asks of it, found out by trying: the table of docs/servers.md.

Each question is a row, and its answer a few words. ``python -m tests.servers.findings`` writes the table anew.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import md5, sha256
from typing import Any

from botocore.exceptions import ClientError
from zrb.plan.lifecycle_xml import rule_from_xml, rule_to_xml
from zrb.store.bucket_settings import BucketLifecycle
from zrb.store.s3_errors import S3Refused
from zrb.store.s3_session import S3Session
from zrb.values.config import MIB
from zrb.values.lifecycle_rule import LifecycleRule

from tests.conftest import ROOT
from tests.servers.programs import KINDS, Server, running

PAGE = ROOT / "docs" / "servers.md"
RULES = {
    "that ends unfinished uploads": {"abort_incomplete_multipart_upload_days": 14},
    "that moves parts": {"prefix": "nas/data/", "transitions": [{"storage_class": "GLACIER", "days": 30}]},
    "that removes old versions": {"noncurrent_version_expiration_days": 60},
}
_CONTENT = b"what is sent"
_OTHER = b"not what is sent"
_TABLE = re.compile(r"^\| what zrb asks .*?(?=^(?!\|))", re.MULTILINE | re.DOTALL)


def _sha256(content: bytes) -> dict[str, str]:
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": b64encode(sha256(content).digest()).decode()}


@dataclass(frozen=True)
class _Trial:
    """A server's bucket, for trying things."""

    server: Server
    bucket: str

    def __call__(self, operation: str, **parameters: Any) -> dict[str, Any]:
        reply: dict[str, Any] = getattr(self.server.client(), operation)(Bucket=self.bucket, **parameters)
        return reply

    def upload(self, key: str, content: bytes = _CONTENT, **parameters: Any) -> tuple[str, dict[str, Any]]:
        """Begin an upload with one chunk; its id, and the reply to the chunk."""
        begun = {"ChecksumAlgorithm": "SHA256"} if "ChecksumSHA256" in parameters else {}
        upload = self("create_multipart_upload", Key=key, **begun)["UploadId"]
        return upload, self("upload_part", Key=key, UploadId=upload, PartNumber=1, Body=content, **parameters)

    def complete(self, key: str, upload: str, chunk: Mapping[str, Any], **parameters: Any) -> dict[str, Any]:
        """End an upload of one chunk."""
        part = {"PartNumber": 1, "ETag": chunk["ETag"]}
        if "ChecksumSHA256" in chunk:
            part["ChecksumSHA256"] = chunk["ChecksumSHA256"]
        return self(
            "complete_multipart_upload", Key=key, UploadId=upload, MultipartUpload={"Parts": [part]}, **parameters
        )


def _refusal(act: Callable[[], object], *, accepted: str) -> str:
    """The code of an error, or ``accepted``."""
    try:
        act()
    except ClientError as error:
        return f"{error.response['ResponseMetadata']['HTTPStatusCode']} {error.response['Error']['Code']}"
    return accepted


def _if_none_match_put(trial: _Trial) -> str:
    trial("put_object", Key="put", Body=_CONTENT)
    return _refusal(lambda: trial("put_object", Key="put", Body=_OTHER, IfNoneMatch="*"), accepted="ignored")


def _if_none_match_complete(trial: _Trial) -> str:
    trial("put_object", Key="complete", Body=_CONTENT)
    upload, chunk = trial.upload("complete", _OTHER)
    return _refusal(lambda: trial.complete("complete", upload, chunk, IfNoneMatch="*"), accepted="ignored")


def _wrong_sha256_put(trial: _Trial) -> str:
    return _refusal(
        lambda: trial("put_object", Key="sha256", Body=_CONTENT, **_sha256(_OTHER)), accepted="stored all the same"
    )


def _wrong_sha256_chunk(trial: _Trial) -> str:
    return _refusal(lambda: trial.upload("sha256-chunk", **_sha256(_OTHER)), accepted="stored all the same")


def _wrong_md5(trial: _Trial) -> str:
    wrong = b64encode(md5(_OTHER).digest()).decode()
    return _refusal(
        lambda: trial("put_object", Key="md5", Body=_CONTENT, ContentMD5=wrong), accepted="stored all the same"
    )


def _sha256_kept(trial: _Trial) -> str:
    trial("put_object", Key="kept", Body=_CONTENT, **_sha256(_CONTENT))
    head = trial("head_object", Key="kept", ChecksumMode="ENABLED")
    return "kept" if head.get("ChecksumSHA256") == _sha256(_CONTENT)["ChecksumSHA256"] else "not kept"


def _sha256_kept_of_upload(trial: _Trial) -> str:
    upload, chunk = trial.upload("kept-upload", **_sha256(_CONTENT))
    trial.complete("kept-upload", upload, chunk)
    found = trial("head_object", Key="kept-upload", ChecksumMode="ENABLED").get("ChecksumSHA256", "")
    composite = b64encode(sha256(sha256(_CONTENT).digest()).digest()).decode()
    return "kept" if found.partition("-")[0] == composite else "not kept"


def _etag_of_upload(trial: _Trial) -> str:
    upload, chunk = trial.upload("etag")
    trial.complete("etag", upload, chunk)
    found = trial("head_object", Key="etag")["ETag"].strip('"')
    usual = md5(md5(_CONTENT).digest()).hexdigest() + "-1"
    return "as on AWS" if found == usual else "another"


def _storage_class(name: str) -> Callable[[_Trial], str]:
    def stored(trial: _Trial) -> str:
        found = ""

        def put() -> None:
            nonlocal found
            trial("put_object", Key=name, Body=_CONTENT, StorageClass=name)
            (entry,) = trial("list_objects_v2", Prefix=name)["Contents"]
            found = "kept" if entry.get("StorageClass") == name else "stored as " + entry.get("StorageClass", "none")

        return _refusal(put, accepted="") or found

    return stored


def _lifecycle(rule: LifecycleRule) -> Callable[[_Trial], str]:
    def kept(trial: _Trial) -> str:
        session = S3Session(trial.server.settings(trial.bucket))
        lifecycle = BucketLifecycle(session)
        try:
            lifecycle.write([rule_to_xml(rule)])
            return "kept" if [rule_from_xml(xml) for xml in lifecycle.read().rules] == [rule] else "kept otherwise"
        except S3Refused as error:
            return error.code
        finally:
            session.close()

    return kept


def _listed_uploads(trial: _Trial) -> str:
    trial("create_multipart_upload", Key="listed")

    def listing() -> None:
        assert "listed" in [upload["Key"] for upload in trial("list_multipart_uploads").get("Uploads", ())]

    try:
        return _refusal(listing, accepted="yes")
    except AssertionError:
        return "empty"


def _aborted(trial: _Trial) -> str:
    upload, _ = trial.upload("aborted")
    refused = _refusal(lambda: trial("abort_multipart_upload", Key="aborted", UploadId=upload), accepted="")
    if refused:
        return refused
    trial("put_object", Key="aborted", Body=_CONTENT)
    upload, _ = trial.upload("aborted", _OTHER)
    trial("abort_multipart_upload", Key="aborted", UploadId=upload)
    return _refusal(lambda: trial("head_object", Key="aborted"), accepted="yes")


def _replaced_chunk(trial: _Trial) -> str:
    upload, _ = trial.upload("replaced", bytes(5 * MIB))
    again = {"Key": "replaced", "UploadId": upload, "PartNumber": 1, "Body": b"\1" * (5 * MIB)}
    return _refusal(lambda: trial("upload_part", **again), accepted="the later one counts")


QUESTIONS: dict[str, Callable[[_Trial], str]] = {
    "refuses PutObject over an object (`If-None-Match`)": _if_none_match_put,
    "refuses CompleteMultipartUpload over an object": _if_none_match_complete,
    "refuses PutObject with another SHA-256": _wrong_sha256_put,
    "refuses UploadPart with another SHA-256": _wrong_sha256_chunk,
    "refuses PutObject with another Content-MD5": _wrong_md5,
    "SHA-256 of a PutObject": _sha256_kept,
    "SHA-256 of a multipart upload": _sha256_kept_of_upload,
    "ETag of a multipart upload": _etag_of_upload,
    "a chunk that is uploaded twice": _replaced_chunk,
    "storage class `STANDARD_IA`": _storage_class("STANDARD_IA"),
    "storage class `DEEP_ARCHIVE`": _storage_class("DEEP_ARCHIVE"),
    **{f"lifecycle rule {what}": _lifecycle(LifecycleRule.of({"id": "rule", **rule})) for what, rule in RULES.items()},
    "lists unfinished uploads": _listed_uploads,
    "aborts an upload, and leaves the object": _aborted,
}


def findings(server: Server) -> dict[str, str]:
    """The answer of ``server`` to each question."""
    trial = _Trial(server, server.new_bucket().bucket)
    return {question: answer(trial) for question, answer in QUESTIONS.items()}


def table(columns: Mapping[str, Mapping[str, str]]) -> str:
    """The table: a column for each server."""
    lines = [["what zrb asks", *columns], ["---"] * (len(columns) + 1)]
    lines += [[question, *(column[question] for column in columns.values())] for question in QUESTIONS]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def columns_of_page() -> dict[str, dict[str, str]]:
    """What the page says, by the heading of the column."""
    found = _TABLE.search(PAGE.read_text(encoding="utf-8"))
    if found is None:
        return {}
    heading, _, *rows = ([cell.strip() for cell in line.split("|")[1:-1]] for line in found.group().splitlines())
    return {name: {row[0]: row[number] for row in rows} for number, name in enumerate(heading) if number}


def heading(server: Server) -> str:
    """Name and version, as the page has them."""
    return f"{server.kind.title} {_short(server.kind.version)}"


def _short(version: str) -> str:
    """Go's name of a commit has its day in it, and the rest is for machines."""
    day = re.fullmatch(r"v0\.0\.0-(\d{4})(\d\d)(\d\d)\d+-[0-9a-f]+", version)
    return "-".join(day.groups()) if day else version.removeprefix("v")


def main() -> int:
    """Write the table anew."""
    columns = {}
    for kind in KINDS:
        if not kind.program.exists():
            sys.stderr.write(f"{kind.name} cannot be had here, and the page needs all servers\n")
            return 1
        with running(kind) as server:
            columns[heading(server)] = findings(server)
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(_TABLE.sub(lambda _: table(columns), text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
