"""The policies of docs/fleet.md, and whether S3 would grant a request by one."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

PAGE = Path(__file__).resolve().parents[1] / "docs" / "fleet.md"


def policy(name, bucket, prefix):
    """The page's policy for a node, a reader or a publisher, with the bucket and the prefix of a test."""
    found = re.search(
        rf"^### A {name}\n.*?^```json\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert found, f"docs/fleet.md has no policy for a {name}"
    text = found[1].replace("BUCKET", bucket).replace("PREFIX", prefix)
    return json.loads(text)


def action(method, path):
    """(what S3 calls a request, the resource it asks for, the prefix of a listing or None)."""
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    bucket, _, key = unquote(parts.path).lstrip("/").partition("/")
    if not key:
        if method == "POST" and "delete" in query:
            return "s3:DeleteObject", f"arn:aws:s3:::{bucket}/*", None
        name = "s3:ListBucketMultipartUploads" if "uploads" in query else "s3:ListBucket"
        return name, f"arn:aws:s3:::{bucket}", query.get("prefix", "")
    of_upload = "uploadId" in query
    name = {
        "GET": "s3:ListMultipartUploadParts" if of_upload else "s3:GetObject",
        "HEAD": "s3:GetObject",
        "PUT": "s3:PutObject",
        "POST": "s3:PutObject",
        "DELETE": "s3:AbortMultipartUpload" if of_upload else "s3:DeleteObject",
    }[method]
    return name, f"arn:aws:s3:::{bucket}/{key}", None


def allows(rules, method, path):
    """Whether a policy that only allows grants the request."""
    name, resource, prefix = action(method, path)
    return any(
        name in _listed(one["Action"])
        and any(fnmatch.fnmatchcase(resource, pattern) for pattern in _listed(one["Resource"]))
        and (
            prefix is None
            or any(fnmatch.fnmatchcase(prefix, like) for like in one["Condition"]["StringLike"]["s3:prefix"])
        )
        for one in rules["Statement"]
        if one["Effect"] == "Allow"
    )


def _listed(value):
    return [value] if isinstance(value, str) else value
