"""What run.json keeps, and what it must not keep."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from steno.capture.config import as_config
from steno.capture.plain import plain
from steno.capture.start.identity import Git, command
from steno.secrecy import is_secret, mask


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "db_password",
        "API_KEY",
        "apiKey",
        "openai-api-key",
        "token",
        "hf_token",
        "accessToken",
        "client.secret",
        "aws_secret_access_key",
    ],
)
def test_secret_keys(key):
    assert is_secret(key)
    assert mask(key, "x") == "***"


@pytest.mark.parametrize(
    "key", ["tokenizer", "pad_token", "max_tokens", "key", "keys", "lr", "num_heads", "monkey", "eos_token_id"]
)
def test_keys_of_the_field_are_no_secrets(key):
    assert not is_secret(key)
    assert mask(key, "<pad>") == "<pad>"


def test_secrets_are_found_by_their_form_and_in_nested_values():
    hidden = mask("x", {"url": "postgres://me:hunter2@db/x?token=abc&n=1", "deep": [{"password": "p"}], "n": 3})
    assert hidden == {"url": "postgres://***@db/x?token=***&n=1", "deep": [{"password": "***"}], "n": 3}
    assert mask("x", "hf_" + "a" * 30) == "***"
    assert mask("x", "use ghp_" + "A1" * 15 + " now") == "use *** now"
    assert mask("x", "https://host:8080/path") == "https://host:8080/path"


def test_the_command_has_no_secrets_and_no_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    argv = [
        "/usr/bin/python3", "/home/someone/train.py", "--lr", "0.1", "--api-key", "s1", "--hf-token=s2", "--password=s3",
        "--data=/home/someone/d", "--max-tokens=100", "redis://u:s4@h", "api_key=s5",
    ]  # fmt: skip
    assert command(argv) == [
        "python3", "~/train.py", "--lr", "0.1", "--api-key", "***", "--hf-token=***", "--password=***", "--data=~/d",
        "--max-tokens=100", "redis://***@h", "api_key=***",
    ]  # fmt: skip


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Options:
    lr: float = 0.1
    places: tuple = (Path("/a"), Colour.RED)


class Unkind:
    def __repr__(self) -> str:
        raise RuntimeError


def test_any_value_becomes_something_json_and_msgpack_hold():
    import msgspec

    loop: list = []
    loop.append(loop)
    values = {
        "options": Options(), "set": {3, 1, 2}, "np": np.float32(0.5), "array": np.arange(3), "big": 2**80, "nan": float("nan"),
        "bool": True, "none": None, 3: "number", "function": len, "unkind": Unkind(), "loop": loop, "bytes": b"\xff",
    }  # fmt: skip
    found = plain(values)
    msgspec.msgpack.encode(found)
    assert math.isnan(found.pop("nan"))
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["options"] == {"lr": 0.1, "places": ["/a", "red"]}
    assert (found["set"], found["np"], found["array"], found["big"]) == ([1, 2, 3], 0.5, [0, 1, 2], str(2**80))
    assert found["function"] == "builtins.len"
    assert found["bool"] is True
    assert found["3"] == "number"
    assert found["unkind"] == "<Unkind>"


def test_config_may_be_a_dataclass():
    assert as_config(Options(lr=0.5))["lr"] == 0.5
    assert as_config(None) == {}


def git(place: Path, *arguments: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    options = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *options, *arguments], cwd=place, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_git_commit_branch_and_dirty(tmp_path):
    assert Git(tmp_path).result() is None
    git(tmp_path, "init", "-q", "-b", "topic/x")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "first")
    head = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "sub").mkdir()
    assert Git(tmp_path / "sub").result(20) == {"commit": head, "branch": "topic/x", "dirty": False}
    (tmp_path / "a").write_text("2")
    assert Git(tmp_path).result(20) == {"commit": head, "branch": "topic/x", "dirty": True}
    git(tmp_path, "pack-refs", "--all")
    git(tmp_path, "worktree", "add", "-q", "-b", "other", str(tmp_path / "tree"))
    assert Git(tmp_path / "tree").result(20) == {"commit": head, "branch": "other", "dirty": False}
    git(tmp_path, "checkout", "-q", "-f", "--detach")
    assert Git(tmp_path).result(20) == {"commit": head, "branch": None, "dirty": False}


def test_a_git_that_takes_long_is_not_waited_for(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    (tmp_path / "bin").mkdir()
    slow = tmp_path / "bin" / "git"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert Git(tmp_path).result(0.01)["dirty"] is None
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    assert Git(tmp_path).result(0.01)["dirty"] is None
