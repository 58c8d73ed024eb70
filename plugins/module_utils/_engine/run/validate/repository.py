# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks whether the configured repository can be reached, and what its store guarantees."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...repository.identity import find_identity
from ...store.protocol import Store
from ...store.s3 import S3Store
from ...store.s3_endpoint_features import EndpointFeatures
from ...values.config import S3Settings
from ..context import Context
from .bucket import bucket_checks
from .check_result import Check


def repository_checks(context: Context) -> Iterator[Check]:
    """Reach the repository, and try what its endpoint can do."""
    store = context.open_store()
    try:
        yield from _identity_checks(store, context.known_id)
        if isinstance(store, S3Store) and context.config.s3 is not None:
            yield from settings_checks(context.config.s3)
            yield from feature_checks(store.features(fresh=True))
            yield from bucket_checks(context.config, context.config.s3, context.clock)
        elif context.config.local is not None:
            yield _writable(Path(context.config.local.path))
    finally:
        store.close()


def _identity_checks(store: Store, known: str | None) -> Iterator[Check]:
    identity = find_identity(store, known=known)
    if identity is None:
        yield Check("repository", "ok", f"{store.location} answers and is empty; the first backup sets it up")
    else:
        yield Check("repository", "ok", f"{store.location} answers; it is the repository {identity.repository_id}")


def _writable(path: Path) -> Check:
    if os.access(path, os.W_OK | os.X_OK):
        return Check("repository_write", "ok", f"{path} can be written")
    return Check(
        "repository_write",
        "error",
        f"{path} cannot be written",
        "Give this user the right to write there, or mount it rw",
    )


def settings_checks(settings: S3Settings) -> Iterator[Check]:
    """Whether the connection to the endpoint is protected."""
    if not settings.validate_certs:
        yield Check(
            "tls",
            "warning",
            "The endpoint's certificate is not verified: an attacker on the way can read and change everything",
            "Set ca_bundle to the CA of the endpoint instead",
        )
    elif settings.endpoint.startswith("http://"):
        yield Check(
            "tls",
            "warning",
            f"{settings.endpoint} is not encrypted: an attacker on the way sees names and sizes, and can drop backups",
            "Use https:// if the endpoint has it",
        )


def feature_checks(found: EndpointFeatures) -> Iterator[Check]:
    """Report what the endpoint can do."""
    yield _feature(
        "conditional_writes",
        found.conditional_writes,
        yes="the endpoint refuses to overwrite (If-None-Match)",
        no="The endpoint ignores If-None-Match: only a look before each write, and random names, prevent overwriting",
        step="Give each machine its own prefix and credentials; versioning protects against overwriting",
    )
    if found.checksum_rejected is False and found.content_md5_checked:
        yield Check("checksums", "ok", "the endpoint checks Content-MD5 (it ignores SHA-256)")
    else:
        yield _feature(
            "checksums",
            found.checksum_rejected,
            yes="the endpoint refuses bytes that do not have the SHA-256 sent with them",
            no="The endpoint accepts bytes with a wrong checksum: only `zrb verify` finds damage on the way",
            step="Run `zrb verify --depth checksum` regularly",
        )
    yield _feature(
        "stored_checksums",
        found.checksum_stored,
        yes="the endpoint keeps the SHA-256, so `verify --depth exists` compares it",
        no="The endpoint keeps no SHA-256: `verify --depth exists` compares only sizes and ETags",
        step="Run `zrb verify --depth checksum` regularly",
    )


def _feature(name: str, answer: bool | None, *, yes: str, no: str, step: str) -> Check:
    if answer is None:
        return Check(
            name,
            "warning",
            "This could not be tried: the repository is empty, or the credentials may not read or write its zrb.json",
            "Run this again after the first backup, with the credentials of the backups",
        )
    return Check(name, "ok", yes) if answer else Check(name, "warning", no, step)
