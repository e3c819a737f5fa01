"""Tells secrets by their names and forms, and keeps them out of what is written down.

One list for everything that is: the command line, the environment, configuration, summary, events, errors, and what
foreign libraries say. A name is looked at word by word (`wandbKey`, `wandb-key` and `x.wandb_key` are alike), so that
`tokenizer`, `max_tokens`, `key_dim` and `author` stay what they are.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

from steno.errors import StenoError

HIDDEN: Final = "***"

# -- names ------------------------------------------------------------------------------------------------


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PASSWORDS: Final = _set("password passwords passwd passphrase passcode pwd pswd userpwd htpasswd")
"""Words whose value is a secret even as a number."""
_WORDS: Final = _PASSWORDS | _set(
    """
    accesskey accesstoken apikey apitoken authkey authorization authtoken cookie cookies credential credentials creds
    dsn jwt privatekey secret secretkey secrets
    """
)
"""Words that make a name a secret's wherever they stand."""
_ENDS: Final = _set("auth bearer pat sas")
"""Words that do where the name ends with them, alone or behind one of `_OWNERS`."""
_OWNERS: Final = _set(
    """
    access account admin api app auth bearer blob bot client container deploy http https login my oauth oauth2 personal
    private proxy refresh root secret security service session shared storage user web webhook www

    anthropic aws azure bitbucket clearml cloudflare cohere comet databricks datadog deepseek digitalocean discord
    docker firebase gcp gemini gh github gitlab google grafana groq heroku hf hub huggingface jira kaggle labelbox
    langchain langsmith mailgun mistral mlflow neptune newrelic ngc ngrok npm nvidia openai openrouter pagerduty
    pinecone pypi qdrant roboflow runpod sendgrid sentry shopify slack snowflake stripe supabase swanlab tavily telegram
    trackio twilio twitter vercel wandb weaviate xai zilliz
    """
)
_KEYS: Final = (_OWNERS - _set("container http https my root user www")) | _set(
    "application decryption encryption gpg hmac host license master pgp rsa sign signing ssh subscription"
)
"""Words that make a secret of the `key` behind them."""
_TOKENS: Final = (_OWNERS - _set("container my root shared user")) | _set("ci csrf registry xsrf")
"""Words that make a secret of the `token` behind them; not `pad`, `eos`, `mask`, `max`, …"""
_LOGINS: Final = _set("admin basic db email ftp http imap login mail mysql pg postgres proxy root smtp user")
"""Words that make a secret of the `pass` or `pw` behind them."""
_ABOUT: Final = _set(
    """
    alg algorithm audience bits class count dim dir directory domain enabled env expiry field file filename flow folder
    format header issuer jar kind len length lifetime method mode name names num path policy prefix provider regex
    required retries scheme scope scopes server size store strategy strength timeout ttl type uri url var variable
    """
)
"""A name that ends with one of these says something about a secret, and holds none."""
_CASES: Final = re.compile(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])")
_APART: Final = re.compile(r"[^a-z0-9]+")


@lru_cache(4096)
def is_secret(key: str) -> bool:
    """Whether a key of this name holds a secret; `pad_token` and `tokenizer` do not."""
    return _is_secret(_words(key)) or ("." in key and _is_secret(_words(key.rpartition(".")[2])))


def _words(key: str) -> list[str]:
    return [part for part in _APART.split(_CASES.sub(r"\1\3_\2\4", key[:512]).lower()) if part]


def _is_secret(words: list[str]) -> bool:
    if not words or words[-1] in _ABOUT:
        return False
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    # `OpenAIKey` and `hugging_face_token` are of services whose names are written as one word, too.
    pairs = [*pairwise(words), *((a + b, c) for a, b, c in zip(words, words[1:], words[2:], strict=False))]
    return (
        words == ["token"]
        or not _WORDS.isdisjoint(words)
        or (last in _ENDS and (not before or before in _OWNERS or before in _LOGINS))
        or (last in {"pass", "pw"} and before in _LOGINS)
        or any((b == "key" and a in _KEYS) or (b == "token" and a in _TOKENS) for a, b in pairs)
    )


# -- forms ------------------------------------------------------------------------------------------------

_KNOWN: Final = re.compile(
    r"""
    -----BEGIN\ [A-Z ]*PRIVATE\ KEY-----.*?(?:-----END\ [A-Z ]*PRIVATE\ KEY-----|\Z)
    | \b(?:
        hf_[A-Za-z0-9]{20,} | api_org_[A-Za-z0-9]{20,}
      | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,} | gl(?:pat|dt|rt|cbt|ptt|soat|ft)-[\w-]{16,}
      | sk-(?:ant|proj|or|svcacct|admin|live|test|lf)-[\w-]{16,} | sk-[A-Za-z0-9]{20,}
      | [sr]k_(?:live|test)_[A-Za-z0-9]{16,}
      | (?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}
      | xox[abeoprs]-[\w-]{10,} | xapp-\d-[\w-]{10,}
      | AIza[\w-]{30,} | ya29\.[\w-]{20,} | GOCSPX-[\w-]{20,}
      | npm_[A-Za-z0-9]{20,} | pypi-Ag[\w-]{14,} | dckr_(?:pat|oat)_[\w-]{20,}
      | wandb_v\d_\w{20,} | gsk_[A-Za-z0-9]{20,} | r8_[A-Za-z0-9]{30,} | xai-[A-Za-z0-9]{20,} | pplx-[A-Za-z0-9]{20,}
      | nvapi-[\w-]{20,} | lsv2_(?:pt|sk)_\w{20,} | pcsk_\w{20,} | dapi[0-9a-f]{32} | dop_v1_[0-9a-f]{40,}
      | SG\.[\w-]{16,}\.[\w-]{16,} | hv[sb]\.[\w-]{20,} | glsa_\w{20,} | ATATT3[\w=-]{20,} | lin_api_\w{20,}
      | shp(?:at|ss|pa)_[0-9a-f]{20,} | sntry[su]_[\w=+/-]{20,} | AGE-SECRET-KEY-1\w{20,} | \d{8,10}:AA[\w-]{32,}
      | eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,} | eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.? | eyJhcGlf[\w+/=-]{20,}
    )
    """,
    re.VERBOSE | re.DOTALL,
)
"""Tokens that say what they are."""
_WEBHOOK: Final = re.compile(
    r"(hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/)[\w/-]{10,}"
)
_URL_PASSWORD: Final = re.compile(r"(\b[a-zA-Z][\w+.-]*://)[^/\s:@?#'\"]*:[^/\s@]*@")
_URL_USER: Final = re.compile(r"(\b(?i:https?|wss?)://)[^/\s:@?#'\"]+@")
"""A web address has no user but one who shows a token."""
_URL_QUERY: Final = re.compile(
    r"(?i)([?&](?:[\w-]*(?:token|key|secret|passw(?:or)?d|pwd|signature|credential)|sig|auth|jwt|pat)=)[^&\s#'\"]+"
)
_SCHEME: Final = re.compile(r"\b(Bearer|Token)(\s+)([\w.~+/-]{6,}=*)")
_BASIC: Final = re.compile(r"\b(Basic\s+)([A-Za-z0-9+/]{8,}={0,2})(?![\w+/=])")
_HEADER: Final = re.compile(
    r"(?i)(\b(?:proxy-)?authorization|\b(?:set-)?cookie|\bx-[\w-]*(?:key|token|secret|auth))(['\"]?\s*:\s*)(?=[^\s'\"])[^\r\n'\"]+"
)
_NAME: Final = re.compile(
    r"""(?<![\w.-]) (?P<quote>\\*["']|) (?P<name>[A-Za-z_-][\w.-]{0,63}) (?P=quote) (?P<is>\]?\s*[=:]\s*)""", re.VERBOSE
)
"""A name that a text says a value of: in a connection string, in JSON, in a line of source."""
_VALUE: Final = re.compile(
    r"""(?P<quote>\\*["'])(?P<quoted>.*?)(?P=quote) | [^\s"',;&)}\]\\]+""", re.VERBOSE | re.DOTALL
)
_OPTION: Final = re.compile(r"""(?<![\w-])(--([A-Za-z][\w.-]{0,63})["']?,?\s+["']?)(?!-)[^\s"',;]+""")
"""An option with its value, in a command or a list of arguments."""
_LOGIN: Final = re.compile(r"^([^\s:/\\@]{1,64}):([^\s/\\]{2,})$")
_NUMBER: Final = re.compile(r"^[\d.,+-]+$")
_PATH: Final = re.compile(r"^(?:/|~|\.{1,2}/|[A-Za-z]:[\\/])")
_VARIABLES: Final = re.compile(
    r"(?i)(^|_)(key|token|secret|password|passwd|pwd|credentials?|connection_string|sas)(_|$)"
)
"""Environment variables that hold a secret, by their names: wider than `is_secret`, since hiding one loses nothing."""
_SHORTEST_SECRET: Final = 8
"""A shorter value of a secret variable may be part of any text."""


def mask(key: str, value: Any) -> Any:
    """The value without what looks like a secret, by its key or its form."""
    if isinstance(value, str):
        if not value:
            return value
        return HIDDEN if _hides(key, value) else masked_text(_without_login(key, value))
    if isinstance(value, Mapping):
        if is_secret(key):
            return {name: _emptied(item) for name, item in value.items()}
        return {name: mask(str(name), item) for name, item in value.items()}
    if isinstance(value, list):
        # A header or an option as a pair is a name and a value, too.
        if len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], str) and is_secret(value[0]):
            return [value[0], mask(value[0], value[1])]
        if not is_secret(key) and any(isinstance(one, str) and one.startswith("-") for one in value):
            texts = iter(arguments([one for one in value if isinstance(one, str)]))
            return [next(texts) if isinstance(one, str) else mask(key, one) for one in value]
        return [mask(key, item) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and is_secret(key):
        return value if _PASSWORDS.isdisjoint(_words(key)) else HIDDEN
    return value


def masked_text(text: str) -> str:
    """A text without the secrets in it that can be recognised by their form."""
    text = _KNOWN.sub(HIDDEN, text)
    if "/" in text:
        text = _URL_PASSWORD.sub(rf"\1{HIDDEN}@", text)
        text = _URL_USER.sub(rf"\1{HIDDEN}@", text)
        text = _URL_QUERY.sub(rf"\1{HIDDEN}", text)
        text = _WEBHOOK.sub(rf"\1{HIDDEN}", text)
    if ":" in text or "=" in text:
        text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
        text = _without_values(text)
    if "--" in text:
        text = _OPTION.sub(lambda found: found[1] + HIDDEN if is_secret(found[2]) else found[0], text)
    if "B" in text or "Token" in text:
        text = _SCHEME.sub(_without_token, text)
        text = _BASIC.sub(_without_pair, text)
    return text


def arguments(argv: list[str]) -> list[str]:
    """The arguments of a command, without secrets; one more is hidden rather than one too few."""
    out: list[str] = []
    option = ""
    for argument in argv:
        given, option = option, ""
        if given and not argument.startswith("--") and not (argument.startswith("-") and len(argument) < 4):
            shown = str(mask(given, argument))
            if shown != argument or not argument.startswith("-"):
                out.append(shown)
                continue
        name, equals, value = argument.partition("=")
        if equals and not any(letter.isspace() for letter in name):
            out.append(f"{masked_text(name)}={mask(name.lstrip('-+~'), value)}")
        else:
            out.append(masked_text(argument))
            option = argument.lstrip("-") if argument.startswith("-") else ""
    return out


def scrub(text: str, environment: Mapping[str, str] | None = None) -> str:
    """A text without secrets: those that look like one, and the values of secret variables of the environment."""
    if len(text) >= _SHORTEST_SECRET:
        for name, value in (os.environ if environment is None else environment).items():
            # The name is looked at last: nearly no value is in the text. A path to a key is no key.
            if len(value) >= _SHORTEST_SECRET and value in text and _is_variable(name) and not os.path.exists(value):
                text = text.replace(value, HIDDEN)
    return masked_text(text)


def error_text(error: Exception) -> str:
    """What an error says, without secrets: one of steno's own its text, another one its type too."""
    kind = type(error).__name__
    return scrub(str(error) if isinstance(error, StenoError) else f"{kind}: {error}" if str(error) else kind)


@lru_cache(1024)
def _is_variable(name: str) -> bool:
    return is_secret(name) or _VARIABLES.search(name) is not None


def _hides(key: str, value: str) -> bool:
    if not is_secret(key):
        return False
    # `pwd` is also the working directory, and a count is no token.
    return not ("pwd" in _words(key) and _PATH.match(value)) and not (_words(key) == ["token"] and _NUMBER.match(value))


def _without_login(key: str, value: str) -> str:
    """`user:password`, as curl and its kin take it, without the password."""
    words = _words(key)
    if not words or words[-1] not in {"u", "user", "username", "login", "credentials"}:
        return value
    found = _LOGIN.match(value)
    return value if found is None or _NUMBER.match(found.group(2)) else f"{found.group(1)}:{HIDDEN}"


def _emptied(value: Any) -> Any:
    """What stands under a secret's name, without any text in it."""
    if isinstance(value, Mapping):
        return {name: _emptied(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_emptied(item) for item in value]
    return HIDDEN if isinstance(value, str) and value else value


def _without_values(text: str) -> str:
    out, done = [], 0
    for found in _NAME.finditer(text):
        name = found["name"]
        # Behind a colon only what is quoted as in JSON, or can be nothing else than a password, is one.
        clear = "=" in found["is"] or found["quote"] or not _PASSWORDS.isdisjoint(_words(name))
        if found.start() < done or not clear or not is_secret(name):
            continue
        value = _VALUE.match(text, found.end())
        if value is None:
            continue
        bare, quote = value["quoted"] if value["quote"] else value[0], value["quote"] or ""
        if bare and not bare.startswith((HIDDEN, "{", "[")) and bare not in {"None", "null"} and _hides(name, bare):
            out += [text[done : value.start()], quote, HIDDEN, quote]
            done = value.end()
    return "".join((*out, text[done:]))


def _without_token(found: re.Match[str]) -> str:
    token = found[3]
    like = any(letter.isdigit() for letter in token) or len(token) >= 20
    return f"{found[1]}{found[2]}{HIDDEN}" if like else found[0]


def _without_pair(found: re.Match[str]) -> str:
    try:
        pair = binascii.a2b_base64(found[2] + "=" * (-len(found[2]) % 4))
    except ValueError:
        return found[0]
    return f"{found[1]}{HIDDEN}" if b":" in pair and pair.isascii() else found[0]
