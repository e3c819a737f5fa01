"""Secrets are hidden wherever something is written down, and what is ordinary in the field stays."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time

import pytest

import files_below
import steno
from steno.capture.start.identity import command
from steno.destinations.services.foreign import refuse_secrets
from steno.secrecy import arguments, is_secret, mask, masked_text, scrub


def words(text: str) -> list[str]:
    return text.split()


SECRETS = words("""
    password db_password DB_PASSWORD userPassword passwd passphrase pwd db.pwd smtp_pass mysql_pw db_pass
    api_key apiKey APIKEY x-api-key wandb_key WANDB_API_KEY openai_key openai-key OpenAIKey openaiKey anthropic_key hf_key
    google_key azure_key aws_key github_key private_key ssh_key signing_key encryption_key master_key license_key
    secret_key aws_secret_access_key access_key account_key AccountKey subscription_key webhook_key session_key
    token hf_token HF_TOKEN hub_token model.hub.token access_token accessToken refresh_token auth_token bearer_token
    github_token wandb_token slack_token npm_token csrf_token api_token personal_access_token
    secret client_secret clientSecret app.secrets credentials aws_credentials creds
    auth basic_auth proxy_auth Authorization Proxy-Authorization jwt jwt_token cookie cookies Set-Cookie pat github_pat
    ado.pat dsn sentry_dsn DATABASE_DSN sas blob_sas storage_sas
    hugging_face_token
""")
ORDINARY = words("""
    tokenizer tokenizer_name tokens max_tokens max_new_tokens num_tokens tokens_per_batch token_count token_dropout
    pad_token eos_token bos_token unk_token mask_token sep_token cls_token image_token pad_token_id special_tokens
    user_token assistant_token num_pass token_type_ids add_prefix_token next_token num_heads lr
    key keys key_dim num_key_value_heads key_size key_padding_mask sort_key primary_key partition_key image_key
    label_key metric_key prng_key rng_key keypoint keyboard monkey hotkey redis_key s3_key linear_key modal_key
    author authors author_key authentic authority passes n_passes forward_pass two_pass bypass passthrough pass_at_k
    compass pattern patience path patch patches spat secretary cookiecutter session sessions sasquatch author_token
    user username login headers dsn_type password_file password_length secret_name token_path credentials_path
    auth_type auth_method cookie_file api_key_env jwt_algorithm oauth_scope key_id access_level private public
    signal signature sign design bearing autoencoder authoring passenger secretion cred_score
""")


@pytest.mark.parametrize("key", SECRETS)
def test_names_of_secrets(key):
    assert is_secret(key)
    assert mask(key, "hunter2") == "***"
    assert mask("run", {"deep": [{key: "hunter2"}]}) == {"deep": [{key: "***"}]}
    assert "hunter2" not in str(
        arguments([f"--{key}", "hunter2", f"--{key}=hunter2", f"{key}=hunter2", f"+{key}=hunter2"])
    )
    assert "hunter2" not in masked_text(json.dumps({"n": 1, key: "hunter2"}))
    assert "hunter2" not in masked_text(f"login({key}='hunter2')")


@pytest.mark.parametrize("key", ORDINARY)
def test_names_of_the_field(key):
    assert not is_secret(key)
    for value in ("<pad>", "adam", "/data/passwords/secret/token.txt", 5, 0.1, True, None, [1, 2], {"a": "b"}):
        assert mask(key, value) == value
    argv = [f"--{key}", "gelu", f"--{key}=gelu", f"model.{key}=gelu"]
    assert arguments(argv) == argv


def glued(*parts: str) -> str:
    """A made-up token; in pieces, so that nobody who scans this file takes it for one."""
    return "".join(parts)


TOKENS = {
    "google": glued("AIza", "SyD-abcdefghijklmnopqrstuvwxyz12345"),
    "google oauth": glued("ya29", ".a0AfH6SMBx-abcdefghijklmn"),
    "npm": glued("npm", "_abcdefghijklmnopqrstuvwxyz0123456789"),
    "pypi": glued("pypi-", "AgEIcHlwaS5vcmcCJabcdef"),
    "github": glued("gh", "p_16C7e42F292c6912E7710c838347Ae178B4a"),
    "github fine": glued("github", "_pat_11ABCDEFG0abcdefghijkl_mnopqrstuv"),
    "gitlab": glued("glp", "at-abcdefghij0123456789"),
    "slack": glued("xox", "b-123456789012-abcdef"),
    "slack app": glued("xapp", "-1-A0123456789-123456"),
    "aws": glued("AKIA", "ABCDEFGHIJKLMNOP"),
    "aws session": glued("ASIA", "ABCDEFGHIJKLMNOP"),
    "hf": glued("hf", "_abcdefghijklmnopqrstuvwxyz"),
    "openai": glued("sk", "-abcdefghijklmnopqrstuvwxyz0123"),
    "openai project": glued("sk", "-proj-abcdefghijkl_mnop-qrst"),
    "anthropic": glued("sk", "-ant-api03-abcdefghijklmnopqrst"),
    "jwt": glued("eyJ", "hbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N"),
    "stripe": glued("sk", "_live_abcdefghijklmnop"),
    "docker": glued("dckr", "_pat_abcdefghijklmnopqrstuv"),
    "pem": glued("-----BEGIN RSA PRIV", "ATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----"),
}


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS)
def test_tokens_that_say_what_they_are(token):
    assert mask("anything", token) == "***"
    assert masked_text(f"it is {token}, they said") == "it is ***, they said"
    assert mask("list", [f"({token})"]) == ["(***)"]
    assert arguments(["train.py", token, f"--x={token}"]) == ["train.py", "***", "--x=***"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://me:hunter2@db/x?token=abc&n=1", "postgres://***@db/x?token=***&n=1"),
        ("https://hunter2@sentry.io/1", "https://***@sentry.io/1"),
        ("https://x.blob.core.windows.net/c?sv=1&sig=ab%2Bc&se=2", "https://x.blob.core.windows.net/c?sv=1&sig=***&se=2"),
        ("https://b.s3.amazonaws.com/k?X-Amz-Signature=abc&X-Amz-Date=1", "https://b.s3.amazonaws.com/k?X-Amz-Signature=***&X-Amz-Date=1"),
        ("git clone ssh://git@github.com/a/b", "git clone ssh://git@github.com/a/b"),
        ("abfs://container@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("Authorization: Bearer abc", "Authorization: ***"),
        ("Authorization: Basic Ym9iOmh1bnRlcg==", "Authorization: ***"),
        ("{'Authorization': 'Bearer hunter2'}", "{'Authorization': '***'}"),
        ("curl -H 'X-API-Key: hunter2'", "curl -H 'X-API-Key: ***'"),
        ("Cookie: sid=hunter2; a=b", "Cookie: ***"),
        ("Bearer hunter22", "Bearer ***"),
        ("Server=db;User Id=u;Password=hunter2;Timeout=3", "Server=db;User Id=u;Password=***;Timeout=3"),
        ("AccountName=a;AccountKey=hunter2==", "AccountName=a;AccountKey=***"),
        ('{"api_key": "hunter2", "lr": 0.1}', '{"api_key": "***", "lr": 0.1}'),
        ("openai.api_key = 'hunter2'", "openai.api_key = '***'"),
        ("password: hunter2", "password: ***"),
        ("run x --api-key hunter2 --lr 0.1", "run x --api-key *** --lr 0.1"),
        ("Command '['x', '--token', 'hunter2']' returned 1", "Command '['x', '--token', '***']' returned 1"),
        ('notes="password=hunter2", a=secret=hunter2', 'notes="password=***", a=secret=***'),
        (json.dumps(json.dumps({"api_key": "hunter2", "n": "x"})), json.dumps(json.dumps({"api_key": "***", "n": "x"}))),
        ("https://hooks.slack.com/services/T00/B00/XXXXXXXXXXXX", "https://hooks.slack.com/services/***"),
    ],
)  # fmt: skip
def test_secrets_within_texts(text, shown):
    assert masked_text(text) == shown
    assert mask("note", {"deep": [text]}) == {"deep": [shown]}
    assert masked_text(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "lr=0.1, pad_token=<pad>, max_tokens=100, key_dim=64",
        "a basic convolutional network; the bearer of bad news: token by token",
        "the secret: sauce", "auth: none of it", "Basic understanding", "Token classification",
        "/home/pwd/secrets/token/password.txt", "C:\\tokens\\pad", "sk-learn-baseline-random-forest-v2", "pypi-mirror-of-ours-2024",
        "https://host:8080/path?n=1&page=2", "s3://bucket/key=1/x", "redis://host:6379/0", "12:30:45", "a:b", "1000:1000",
        "eyJust a word", "0123456789abcdef0123456789abcdef01234567", "token=512", "ghp_short", "AKIA", "npm_run", "hf_model",
        "text = tokenizer.pad_token", "{'key': 'value', 'tokens': 'a b'}",
    ],
)  # fmt: skip
def test_ordinary_texts_stay(text):
    assert masked_text(text) == text
    assert mask("note", text) == text
    assert arguments([text]) == [text]


def test_what_stands_for_a_login_and_what_is_about_one():
    assert mask("user", "bob:hunter2") == "bob:***"
    assert mask("user", "bob") == "bob"
    assert mask("user", "1000:1000") == "1000:1000"
    assert arguments(["-u", "bob:hunter2", "--user", "bob:hunter2", "--user=bob:hunter2"]) == [
        "-u", "bob:***", "--user", "bob:***", "--user=bob:***",
    ]  # fmt: skip
    assert mask("pwd", "/home/somebody") == "/home/somebody"
    assert mask("pwd", "hunter2") == "***"
    assert mask("password", 1234) == "***"
    assert mask("token", 1234) == 1234
    assert mask("token", "1234") == "1234"
    assert mask("use_auth_token", True) is True
    assert mask("auth", {"type": "basic", "who": ["bob", 3]}) == {"type": "***", "who": ["***", 3]}
    assert mask("headers", [["Authorization", "abc"], ["Accept", "x"]]) == [["Authorization", "***"], ["Accept", "x"]]
    assert mask("command", ["curl", "--api-key", "hunter2", 3]) == ["curl", "--api-key", "***", 3]
    assert "bob" not in masked_text(f"Basic {base64.b64encode(b'bob:hunter2').decode()}")


def test_the_command_line(monkeypatch):
    monkeypatch.setenv("SOME_API_TOKEN", "abcdefgh-1234")
    argv = ["/usr/bin/python3", "t.py", "--header", "Authorization: Bearer hunter2", "--password", "-hunter2", "--no-auth",
            "-v", "--jwt", "--lr", "0.1", "--config", '{"secret": "hunter2"}', "--set", "db.password=hunter2", "-ePASSWORD=hunter2",
            "--x", "abcdefgh-1234"]  # fmt: skip
    assert command(argv) == [
        "python3", "t.py", "--header", "Authorization: ***", "--password", "***", "--no-auth", "-v", "--jwt", "--lr", "0.1",
        "--config", '{"secret": "***"}', "--set", "db.password=***", "-ePASSWORD=***", "--x", "***",
    ]  # fmt: skip


def test_the_values_of_secret_variables_are_found_in_any_text():
    environment = {"MY_TOKEN": "a1b2c3d4e5", "SHORT_KEY": "abc", "KEYBOARD": "qwertyuiop", "SSH_KEY": "/etc/hostname"}
    assert scrub("a1b2c3d4e5 abc qwertyuiop /etc/hostname", environment) == "*** abc qwertyuiop /etc/hostname"


def test_long_texts_take_no_long_time():
    for text in (
        "x" * 300_000,
        "a=b " * 50_000,
        "-" * 200_000,
        "http://" * 30_000,
        "'a': " * 40_000,
        "Bearer " * 30_000,
        "a." * 99_999,
    ):
        began = time.process_time()
        masked_text(text)
        assert time.process_time() - began < 2.0, text[:10]


PROGRAM = """
import sys, steno
run = steno.init(project="p", name="s", dir=sys.argv[1], destinations=["csv", "jsonl"], notes="password=SECRET01",
                 tags=["password:SECRET02", "x"], config={"wandb_key": "SECRET03", "headers": {"Authorization": "Bearer SECRET04"}})
run.config.update(signing_key="SECRET05", nested={"pat": "SECRET06", "url": "https://u:SECRET07@h/x"})
run.config["dsn"] = "https://SECRET08@h/1"
run.summary["token"] = "SECRET09"
run.summary.update(deep={"jwt": "SECRET10"})
run.event("login", password="SECRET11", url="redis://:SECRET12@h/", command=["x", "--cookie", "SECRET13"], token=7)
with open(sys.argv[1] + "/a", "w") as file:
    file.write("a")
run.log_artifact(sys.argv[1] + "/a", name="a", metadata={"api_key": "SECRET14"})
run.log({"n": 1})
assert run.config["wandb_key"] == "SECRET03" and run.summary["token"] == "SECRET09"
writer = steno.SummaryWriter(sys.argv[1] + "/logdir")
writer.add_hparams({"lr": 0.1, "hf_token": "SECRET15"}, {"m": 1.0})
writer.close()
with run:
    raise RuntimeError("no login for mysql://u:SECRET16@h with api_key=SECRET17, MY_TOKEN is SECRET18-of-env")
"""


def test_no_secret_is_in_any_file_of_a_run(tmp_path):
    env = {**os.environ, "MY_TOKEN": "SECRET18-of-env", "XLA_FLAGS": "--a=b --token=SECRET19"}
    argv = [
        sys.executable,
        "train.py",
        str(tmp_path / "runs"),
        "--auth",
        "SECRET20",
        "--header=Authorization: Bearer SECRET21",
    ]
    (tmp_path / "runs").mkdir()
    (tmp_path / "train.py").write_text(PROGRAM)
    subprocess.run(argv, env=env, cwd=tmp_path, check=False, capture_output=True, timeout=100)
    book = steno.open(tmp_path / "runs/p/s")
    deadline = time.monotonic() + 60
    while book.info.state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert book.info.state == "failed"
    assert book.info.config["nested"]["url"] == "https://***@h/x"
    (event,) = book.records("event")
    assert event.payload["token"] == 7
    assert event.payload["command"] == ["x", "--cookie", "***"]
    (artifact,) = book.artifacts()
    assert artifact.metadata == {"api_key": "***"}
    found = files_below.contents(tmp_path / "runs")
    assert len(found) > 5
    assert {str(path): data[data.find(b"SECRET") :][:12] for path, data in found.items() if b"SECRET" in data} == {}


def test_destinations_of_services_refuse_them_too():
    for options in ({"wandb_key": "x"}, {"auth": "x"}, {"uri": "https://token@host/"}, {"x": TOKENS["npm"]}):
        with pytest.raises(steno.UsageError, match="would be written down"):
            refuse_secrets("mlflow", options)
