"""Addresses: told from paths, joined, and never shown with a secret."""

import pytest

from codistill.data.source import SourceConfig, expand
from codistill.errors import ConfigError
from codistill.files.places import absolute_path
from codistill.files.urls import is_url, join_url, object_url, parent_of, without_secrets


@pytest.mark.parametrize("text", ["s3://b/k", "https://h/x", "hf://datasets/a/b", "memory://x", "gs://b"])
def test_addresses_are_told_from_paths(text: str) -> None:
    assert is_url(text) and absolute_path(text) == text
    assert not is_url(f"/data/{text}") and not is_url("C:/data") and not is_url("file:///data")


def test_joining_stays_below_the_bucket() -> None:
    assert join_url("s3://b/a/", "c/d.jpg") == "s3://b/a/c/d.jpg"
    assert join_url("s3://b/a/m", "../x") == "s3://b/a/x"
    assert join_url("s3://b/a", "../../../x") == "s3://b/x"
    assert parent_of("s3://b/a/m.parquet") == "s3://b/a" and parent_of("s3://b/m.parquet") == "s3://b"
    assert parent_of("a/m.parquet") == "a" and parent_of("m.parquet") == "."
    assert object_url("https://h/a", "b c?#.jpg") == "https://h/a/b%20c%3F%23.jpg"
    assert object_url("s3://b/a", "b c?#.jpg") == "s3://b/a/b c?#.jpg"


@pytest.mark.parametrize(
    "address",
    ["s3://me:hunter22@bucket/x", "https://h/x?X-Amz-Signature=hunter22", "$STORE_WITH_SECRET/x"],
)
def test_addresses_with_secrets_are_refused_without_showing_them(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORE_WITH_SECRET", "s3://me:hunter22@bucket")
    with pytest.raises(ConfigError, match="by the environment") as raised:
        expand(SourceConfig(name="s", path=address).path, "s")
    assert "hunter22" not in str(raised.value)


def test_a_lost_slash_is_named() -> None:
    with pytest.raises(ConfigError, match="write 's3://bucket/x'"):
        SourceConfig(name="s", path="s3:/bucket/x")


def test_texts_of_other_libraries_lose_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdefgh12345678")
    text = "403, url='https://cdn/x/y?sig=zzz&t=1' for me:pass@host, key abcdefgh12345678; https://u:p@h/a"
    shown = without_secrets(text)
    assert "zzz" not in shown and "abcdefgh12345678" not in shown and "u:p" not in shown
    assert "https://cdn/x/y?…" in shown
