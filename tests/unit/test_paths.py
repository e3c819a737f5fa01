"""Where a path is asked for a URL is refused, with what takes one: nothing makes a directory `s3:`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import steno
from steno import paths

URLS = (
    "s3://bucket/exp1", "gs://bucket/exp1", "az://box/exp1", "S3://bucket/x", "file:///tmp/x", "memory://x",
    "http://host/x", Path("s3://bucket/exp1"), Path("gs://bucket"), b"s3://bucket/x", Path("file:///tmp/x"),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("STENO_DIR", "STENO_RUN", "STENO_WRITER", "STENO_JOURNAL_DIR"):
        monkeypatch.delenv(name, raising=False)
    yield
    if steno.current() is not None:
        steno.current().finish(0)


@pytest.mark.parametrize("url", URLS, ids=repr)
@pytest.mark.parametrize(
    "take",
    [
        lambda url: steno.SummaryWriter(url),
        lambda url: steno.SummaryWriter(log_dir=url),
        lambda url: steno.GlobalSummaryWriter(url),
        lambda url: steno.RunLogger("name", url),
        lambda url: steno.init(dir=url),
        lambda url: steno.init(settings={"journal_dir": url}),
        lambda url: steno.open("run", dir=url),
    ],
)  # fmt: skip
def test_a_url_is_no_directory(take, url):
    with pytest.raises(steno.UsageError) as caught:
        take(url)
    assert any(words in str(caught.value) for words in ("is a URL", "a path is needed", "an object store"))
    assert os.listdir() == []


@pytest.mark.parametrize("url", [one for one in URLS if not isinstance(one, str)], ids=repr)
def test_what_was_no_text_names_no_store_to_list(url):
    with pytest.raises(steno.UsageError):
        steno.runs(dir=url)


@pytest.mark.parametrize("url", URLS[:4], ids=repr)
def test_it_says_what_takes_one(url):
    with pytest.raises(steno.UsageError, match=r"steno sync LOGDIR --store .* steno.init\(store="):
        steno.SummaryWriter(url)
    with pytest.raises(steno.UsageError, match=r"init\(store="):
        steno.init(dir=url)
    with pytest.raises(steno.UsageError, match=r"store="):
        steno.RunLogger("name", url)


def test_the_path_of_a_file_url_is_said_and_no_secret():
    with pytest.raises(steno.UsageError, match="/mnt/runs is the path"):
        steno.SummaryWriter("file:///mnt/runs")
    with pytest.raises(steno.UsageError) as caught:
        steno.SummaryWriter("s3://user:secret@host/x")
    assert "secret" not in str(caught.value)


def test_a_directory_of_the_environment_is_looked_at_too(monkeypatch):
    monkeypatch.setenv("STENO_DIR", "s3://bucket/runs")
    with pytest.raises(steno.UsageError, match="store="):
        steno.init()
    assert os.listdir() == []


@pytest.mark.parametrize("path", ["runs", "a:b/c", "c:/d", "x:y", "2026-11-30T12:00:00", "~/runs", Path("s3"), b"runs"])
def test_paths_are_taken(path):
    found = paths.local("dir", path)
    assert found == os.path.expanduser(os.fsdecode(path))
    assert not paths.is_url(found)


def test_what_is_no_path_is_said():
    with pytest.raises(steno.UsageError, match="dir=5: a path is needed"):
        paths.local("dir", 5)


def test_a_relative_path_from_a_removed_directory_is_one_error_with_the_remedy(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for call in (steno.init, steno.runs, steno.SummaryWriter):
        with pytest.raises(steno.UsageError, match="removed: change to another, or give a whole path"):
            call()
    assert list(steno.runs(dir=tmp_path)) == []
