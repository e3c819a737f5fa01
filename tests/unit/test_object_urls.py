"""URLs of object stores: what is taken, what is refused and how."""

from __future__ import annotations

import pytest

import steno
from steno.objects import url as urls
from steno.secrecy import scrub


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("s3://bucket/some/prefix/", "s3://bucket/some/prefix"),
        ("S3://bucket", "s3://bucket"),
        ("s3a://bucket/x", "s3://bucket/x"),
        ("file:///mnt/runs", "file:///mnt/runs"),
    ],
)
def test_a_url_is_taken(given, kept):
    assert urls.check("store", given) == kept


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bucket/prefix", "a URL is needed"),
        (3, "a URL is needed"),
        ("s3://", "the place is missing"),
        ("file://runs", "absolute path"),
        ("sss3://bucket/x", "did you mean s3://"),
        ("https://host/path", "cannot be written"),
        ("memory://x", "another one; use file://"),
        ("simplecache::s3://bucket/x", "a URL is needed"),
        ("s3://bucket/x::zip://y", "a chain"),
        ("gs://bucket/x", "pip install 'stenolog[gcs]'"),
        ("abfs://bucket/x", "pip install adlfs"),
    ],
)
def test_another_is_refused_with_the_remedy(given, said, tmp_path):
    with pytest.raises(steno.UsageError, match="store=") as caught:
        steno.init(dir=tmp_path, store=given)
    assert said in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "given",
    [
        "s3://AKIAQ7STENOTESTKEYID:hushhushhush@bucket/x",
        "s3://:hushhushhush@bucket/x",
        "sftp://me:hushhushhush@host/x",
        "s3://bucket/x?token=hushhushhush",
        "abfs://box@account.dfs.core.windows.net/x?sv=1&sig=hushhushhush",
        "s3://AKIAQ7STENOTESTKEYID/x",
    ],
)
@pytest.mark.parametrize("what", ["store", "artifacts"])
def test_a_url_with_a_secret_is_refused_without_saying_it(given, what, tmp_path):
    with pytest.raises(steno.UsageError, match="keep credentials in the environment") as caught:
        steno.init(dir=tmp_path, **{what: given})
    shown = f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert "hush" not in shown
    assert "AKIA" not in shown
    with pytest.raises(steno.UsageError) as caught:
        steno.open(given)
    assert "hush" not in str(caught.value)


def test_a_foreign_error_is_quoted_without_what_secret_variables_hold():
    environment = {"AWS_SECRET_ACCESS_KEY": "abc/def+ghi0", "FSSPEC_S3_KEY": "keyid1234567", "HOME": "/home/somebody"}
    said = scrub("bad abc/def+ghi0 of keyid1234567 in /home/somebody, ftp://u:pw@host/x?sig=12", environment)
    assert said == "bad *** of *** in /home/somebody, ftp://***@host/x?sig=***"


def test_off_asks_for_no_store(tmp_path):
    with steno.init(dir=tmp_path, mode="off", store="s3://bucket/x") as run:
        run.log({"a": 1})
    assert not list(tmp_path.iterdir())
