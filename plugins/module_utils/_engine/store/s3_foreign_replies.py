# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Refuses replies that do not come from S3, before botocore parses them: botocore believes any 200.

Captive portals, proxies and gateways answer every request with 200 and a page of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LISTING = "ListBucketResult"
"""What S3 answers to a GET of a bucket with nothing else, and an endpoint to one with a question it does not know."""
_ROOTS = {
    "ListObjectsV2": (_LISTING,),
    "ListMultipartUploads": ("ListMultipartUploadsResult",),
    "DeleteObjects": ("DeleteResult",),
    "GetBucketLifecycleConfiguration": ("LifecycleConfiguration",),
    "GetBucketVersioning": ("VersioningConfiguration", "GetBucketVersioningResponse"),
    "GetObjectLockConfiguration": ("ObjectLockConfiguration",),
}
"""The root elements of replies that may be empty. botocore would take any other XML for an empty reply."""
_EMPTY = {"PutObject", "UploadPart", "AbortMultipartUpload", "DeleteBucketLifecycle"}
"""Operations whose reply has no body."""
_WRITES = {"PutObject", "UploadPart"}
_READS = {"HeadObject", "GetObject"}
NEEDED = {"create_multipart_upload": "UploadId", "complete_multipart_upload": "ETag"}
"""Operations whose reply is XML, and an element that it must have."""
_ROOT = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:<\?.*?\?>\s*|<!--.*?-->\s*)*<(?:[\w.-]+:)?([\w.-]+)", re.DOTALL)


class NotS3(Exception):
    """S3 does not give such a reply to this operation. The text says what came instead."""


class QuestionIgnored(NotS3):
    """The endpoint is an S3, and does not know what it was asked."""


def refuse_foreign(operation: str, status: int, headers: Mapping[str, str], body: Any) -> None:
    """Raise :class:`NotS3` for a success that S3 would not send. ``body`` is the whole body, except for GET."""
    if not 200 <= status < 300:
        return
    kind = str(headers.get("content-type", "")).partition(";")[0].strip()
    what = f"{status} {kind}".strip()
    if operation in _ROOTS:
        found = _ROOT.match(body)
        root = found.group(1).decode() if found else "no XML"
        if root not in _ROOTS[operation]:
            kind_of_reply = QuestionIgnored if root == _LISTING else NotS3
            raise kind_of_reply(f"{what}: {root} instead of {_ROOTS[operation][0]}")
    elif operation in _EMPTY and body.strip():
        raise NotS3(f"{what}: a body of {len(body)} bytes instead of none")
    elif operation in _WRITES and not headers.get("etag"):
        raise NotS3(f"{what}: no ETag")
    elif operation in _READS and (kind == "text/html" or not (headers.get("etag") or headers.get("last-modified"))):
        raise NotS3(f"{what}: neither ETag nor Last-Modified")


def attach(client: Any) -> None:
    """Make ``client`` raise :class:`NotS3`."""

    def before_parse(operation_model: Any, response_dict: Mapping[str, Any], **_: object) -> None:
        refuse_foreign(
            operation_model.name, response_dict["status_code"], response_dict["headers"], response_dict["body"]
        )

    client.meta.events.register("before-parse.s3", before_parse)
