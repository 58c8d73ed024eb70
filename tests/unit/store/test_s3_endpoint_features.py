# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How an endpoint is written to because of what it does."""

from __future__ import annotations

import pytest
from zrb.store.s3_comparison import checksum_of, multipart_etag
from zrb.store.s3_endpoint_features import EndpointFeatures, WriteGuards, write_guards
from zrb.values.config import ChecksumMode
from zrb.values.manifest import Checksum

UNKNOWN = EndpointFeatures()
AWS = EndpointFeatures(True, True, True, True)
KEEPS_ONLY = EndpointFeatures(True, False, True, False)
MD5_ONLY = EndpointFeatures(False, False, False, True)
NOTHING = EndpointFeatures(False, False, False, False)


@pytest.mark.parametrize(
    ("features", "mode", "conditional", "sha256", "md5"),
    [
        (UNKNOWN, "auto", True, True, False),
        (AWS, "auto", True, True, False),
        (KEEPS_ONLY, "auto", True, True, False),
        (MD5_ONLY, "auto", False, False, True),
        (NOTHING, "auto", False, False, False),
        (MD5_ONLY, "required", False, True, True),
        (NOTHING, "required", False, True, False),
        (AWS, "off", True, False, False),
        (MD5_ONLY, "off", False, False, False),
    ],
)
def test_what_is_sent_along(
    features: EndpointFeatures, mode: ChecksumMode, conditional: bool, sha256: bool, md5: bool
) -> None:
    returned = sha256 and features.checksum_stored is True
    assert write_guards(features, mode) == WriteGuards(conditional, sha256, md5, returned)


def test_features_are_known_when_every_question_is_answered() -> None:
    assert NOTHING.known
    assert not UNKNOWN.known
    assert not EndpointFeatures(True, True, True, None).known


@pytest.mark.parametrize(
    ("reply", "checksum"),
    [
        ({}, Checksum("none", "")),
        ({"ETag": '"abc"'}, Checksum("none", "", "abc")),
        ({"ETag": '"abc"', "ChecksumSHA256": "x="}, Checksum("sha256", "x=", "abc")),
        ({"ETag": '"abc-2"', "ChecksumSHA256": "x=-2"}, Checksum("sha256-composite", "x=-2", "abc-2")),
        ({"ETag": '"abc-2"', "ChecksumSHA256": "x="}, Checksum("sha256-composite", "x=-2", "abc-2")),
        ({"ETag": '"abc-2"', "ChecksumSHA256": "x=", "ChecksumType": "FULL_OBJECT"}, Checksum("sha256", "x=", "abc-2")),
    ],
)
def test_the_checksum_of_a_reply(reply: dict[str, str], checksum: Checksum) -> None:
    assert checksum_of(reply) == checksum


def test_the_etag_of_a_multipart_object() -> None:
    # The MD5 of the joined binary MD5 sums, then the number of parts; here of one empty part.
    assert multipart_etag(['"d41d8cd98f00b204e9800998ecf8427e"']) == "59adb24ef3cdbe0297f05b395827453f-1"
    assert multipart_etag(['"d41d8cd98f00b204e9800998ecf8427e"', "not-md5"]) == ""
