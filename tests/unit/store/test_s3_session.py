# Copyright (c) zrb.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the client is made, without any server."""

from __future__ import annotations

import builtins
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from zrb.errors import ConfigError, CredentialsMissing, KeyFileError, LibraryMissing, StoreUnavailable, TlsFailure
from zrb.store import s3_session
from zrb.store.s3_errors import PreconditionRefused
from zrb.store.s3_session import S3Session
from zrb.values.config import S3Credentials, S3Settings

SETTINGS = S3Settings(bucket="my-bucket", region="eu-central-1", credentials=S3Credentials("key", "secret", "token"))
LOCAL = replace(SETTINGS, endpoint="http://127.0.0.1:9", max_attempts=1)


@pytest.fixture(autouse=True)
def no_credentials_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-credentials"))


def credentials_file(path: Path, *, mode: int = 0o600, profile: str = "default") -> Path:
    path.write_text(f"[{profile}]\naws_access_key_id = from-file\naws_secret_access_key = secret-of-file\n")
    path.chmod(mode)
    return path


def access_key(settings: S3Settings) -> Any:
    return S3Session(settings).client._request_signer._credentials.access_key


def test_aws_is_addressed_by_its_own_rules_and_others_by_path() -> None:
    client = S3Session(SETTINGS).client
    assert client.meta.endpoint_url == "https://s3.eu-central-1.amazonaws.com"
    assert client.meta.config.s3 == {"addressing_style": "auto"}
    assert S3Session(LOCAL).client.meta.config.s3 == {"addressing_style": "path"}


def test_the_client_has_what_the_settings_say() -> None:
    config = S3Session(replace(SETTINGS, max_attempts=5), connections=7).client.meta.config
    assert config.max_pool_connections == 7
    assert config.retries == {"mode": "standard", "total_max_attempts": 5}
    assert config.region_name == "eu-central-1"
    assert (config.request_checksum_calculation, config.response_checksum_validation) == (
        "when_required",
        "when_required",
    )


def test_explicit_credentials_come_first(tmp_path: Path) -> None:
    settings = replace(SETTINGS, credentials_file=str(credentials_file(tmp_path / "c")))
    credentials = S3Session(settings).client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("key", "secret", "token")


def test_the_credentials_file_of_the_settings_is_used(tmp_path: Path) -> None:
    settings = replace(SETTINGS, credentials=None, credentials_file=str(credentials_file(tmp_path / "c")))
    assert access_key(settings) == "from-file"


def test_the_profile_of_the_settings_is_used(tmp_path: Path) -> None:
    path = credentials_file(tmp_path / "c", profile="backup")
    settings = replace(SETTINGS, credentials=None, credentials_file=str(path), profile="backup")
    assert access_key(settings) == "from-file"
    with pytest.raises(CredentialsMissing, match="profile other"):
        access_key(replace(settings, profile="other"))


def test_the_file_of_this_tool_is_used_where_nothing_else_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(s3_session, "DEFAULT_CREDENTIALS_FILE", str(credentials_file(tmp_path / "c")))
    settings = replace(SETTINGS, credentials=None)
    with pytest.raises(CredentialsMissing):
        S3Session(replace(LOCAL, credentials=None)).call("head_bucket")
    monkeypatch.delenv("AWS_SHARED_CREDENTIALS_FILE")
    assert access_key(settings) == "from-file"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_credentials_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = credentials_file(tmp_path / "c", mode=mode)
    with pytest.raises(KeyFileError, match=f"{path}.*0{mode:o}"):
        access_key(replace(SETTINGS, credentials=None, credentials_file=str(path)))


def test_a_credentials_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=f"{tmp_path / 'none'}"):
        access_key(replace(SETTINGS, credentials=None, credentials_file=str(tmp_path / "none")))


def test_no_credentials_at_all_says_where_they_go() -> None:
    with pytest.raises(CredentialsMissing, match="/etc/zrb/credentials"):
        S3Session(replace(LOCAL, credentials=None)).call("head_bucket")


def test_an_endpoint_nobody_listens_on_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match=r"HeadBucket.* my-bucket"):
        S3Session(LOCAL).call("head_bucket")


@pytest.mark.parametrize(
    "settings",
    [
        replace(SETTINGS, endpoint="127.0.0.1:9000"),
        replace(SETTINGS, endpoint="http://"),
        replace(SETTINGS, region="eu central"),
        replace(SETTINGS, bucket="no/bucket"),
    ],
)
def test_settings_that_make_no_request_are_a_config_error(settings: S3Settings) -> None:
    with pytest.raises(ConfigError, match="S3 settings"):
        S3Session(settings).call("head_bucket")


def test_a_password_in_the_endpoint_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="password") as caught:
        S3Session(replace(SETTINGS, endpoint="https://me:hunter2@s3.example.org")).call("head_bucket")
    assert "hunter2" not in str(caught.value.facts())


def test_a_ca_bundle_that_is_not_there_is_named() -> None:
    with pytest.raises(TlsFailure, match=r"/none/ca\.pem"):
        S3Session(replace(SETTINGS, ca_bundle="/none/ca.pem")).call("head_bucket")


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_botocore(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("botocore"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_botocore)
    with pytest.raises(LibraryMissing, match="boto3"):
        S3Session(SETTINGS).call("head_bucket")


def test_many_threads_share_one_client_and_closing_ends_it() -> None:
    session = S3Session(SETTINGS)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(session.client)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(client) for client in found}) == 1
    session.close()
    session.close()
    assert session.client is not found[0]


def test_two_writes_that_conflict_come_back_at_random() -> None:
    pauses: set[float] = set()
    session = S3Session(LOCAL, pause=pauses.add)
    for _ in range(20):
        session.wait_out(PreconditionRefused("409", next_step="Again"), 2.0)
    assert len(pauses) > 1
    assert all(1.0 <= one <= 2.0 for one in pauses)
