"""S3: every piece with its checksum, every object with its digest, large files in pieces that outlive a kill."""

from __future__ import annotations

import base64
import contextlib
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

from steno.objects.sending import DifferentError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping
    from concurrent.futures import Future

    from steno.objects.sending import Sending

PIECE_BYTES: Final = 8 << 20
LARGE_BYTES: Final = 16 << 20
"""From this size on a file goes in pieces."""
_PIECES: Final = 9_000
"""S3 takes 10,000."""
_AT_ONCE: Final = 8
"""Pieces of a file that are on their way; so many and one more are in memory."""
READS_AT_ONCE: Final = 16
"""Requests of a reader; botocore's own pool has 10 connections."""
DIGEST: Final = "steno-sha256"
"""The object's metadata that has its SHA-256."""


class Bucket(Protocol):
    """A place in a bucket, as `steno.objects.store.ObjectStore` holds it."""

    fs: Any
    """s3fs."""
    root: str
    """The bucket and the keys' prefix."""
    gate: threading.Semaphore
    """Held while data goes out."""


def options(*, patient: bool) -> dict[str, Any]:
    """What s3fs is made with, in addition to what the user's own fsspec configuration says."""
    import fsspec

    conf = fsspec.config.conf.get("s3") or {}
    ours: dict[str, Any] = {"max_pool_connections": READS_AT_ONCE}
    if not patient:
        ours = {
            # One attempt: botocore's own hidden retries would make an outage look like a slow store.
            "retries": {"total_max_attempts": 1},
            # Each request has its MD5, which every server of this API checks; not all know the newer checksums.
            "request_checksum_calculation": "when_required",
        }
    return {"config_kwargs": {**ours, **(conf.get("config_kwargs") or {})}}


def _names(store: Bucket, key: str) -> dict[str, str]:
    bucket, _, prefix = store.root.partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/{key}" if prefix else key}


def _head(store: Bucket, key: str) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = store.fs.call_s3("head_object", **_names(store, key))
    except FileNotFoundError:
        return None
    return found


def digest(store: Bucket, key: str) -> str | None:
    """The SHA-256 that the object carries; None: there is no such object, or it carries none."""
    head = _head(store, key)
    return None if head is None else (head.get("Metadata") or {}).get(DIGEST)


def write(store: Bucket, key: str, data: bytes) -> None:
    """Put a small object."""
    _put(store, key, data, hashlib.sha256(data).hexdigest())


def create(store: Bucket, key: str, data: bytes) -> bool:
    """Put a small object unless there is one of this key; whether it was put.

    Raises:
        NotImplementedError: the server does not know the condition.
    """
    try:
        _put(store, key, data, hashlib.sha256(data).hexdigest(), IfNoneMatch="*")
    except OSError as error:
        said = _code(error)
        if said in _THERE:
            return False
        if said in _UNKNOWN:
            raise NotImplementedError(str(error)) from error
        raise
    return True


_THERE: Final = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
_UNKNOWN: Final = frozenset({"NotImplemented", "501"})


def _code(error: BaseException) -> str:
    """What the server calls an error; s3fs gives it as the cause of its own."""
    answer = getattr(error.__cause__, "response", None) or {}
    return str((answer.get("Error") or {}).get("Code") or "")


def _put(store: Bucket, key: str, data: bytes, sha256: str, **how: str) -> None:
    store.fs.call_s3(
        "put_object", **_names(store, key), Body=data, ContentMD5=_md5(data)[1], Metadata={DIGEST: sha256}, **how
    )


def _md5(data: bytes) -> tuple[str, str]:
    """Of a piece: as ETags have it, and as the header has it by which the server checks what it got."""
    state = hashlib.md5(data, usedforsecurity=False)
    return state.hexdigest(), base64.b64encode(state.digest()).decode()


def send(store: Bucket, one: Sending) -> None:
    """Send a file whole, or in pieces; a piece that the server has already is not sent again.

    Raises:
        DifferentError: the file changed meanwhile, or the object is not what was sent.
    """
    if one.size < LARGE_BYTES:
        with store.gate:
            data = one.path.read_bytes()
            if len(data) != one.size or hashlib.sha256(data).hexdigest() != one.sha256:
                raise DifferentError(f"{one.path} changed while it was sent")
            _put(store, one.key, data, one.sha256)
            one.moved(one.size)
    else:
        _send_pieces(store, one)
    head = _head(store, one.key) or {}
    there = (head.get("ContentLength"), (head.get("Metadata") or {}).get(DIGEST))
    if there != (one.size, one.sha256):
        raise DifferentError(f"{one.key} is in the store with size and digest {there}, not {(one.size, one.sha256)}")


def _send_pieces(store: Bucket, one: Sending) -> None:
    step = _step(one.size)
    names = _names(store, one.key)
    upload, have = _resume(store, one, names)

    def piece(number: int, data: bytes) -> dict[str, Any]:
        tag, header = _md5(data)
        if have.get(number) != tag:
            with store.gate:
                answer = store.fs.call_s3(
                    "upload_part", **names, UploadId=upload, PartNumber=number, Body=data, ContentMD5=header
                )
            tag = answer["ETag"].strip('"')
        one.moved(len(data))
        return {"PartNumber": number, "ETag": tag}

    parts = _each_piece(one, step, piece)
    if parts is None:
        with contextlib.suppress(FileNotFoundError, PermissionError):
            store.fs.call_s3("abort_multipart_upload", **names, UploadId=upload)
        raise DifferentError(f"{one.path} changed while it was sent")
    store.fs.call_s3("complete_multipart_upload", **names, UploadId=upload, MultipartUpload={"Parts": parts})


def _each_piece(one: Sending, step: int, send: Callable[[int, bytes], dict[str, Any]]) -> list[dict[str, Any]] | None:
    """What `send` returns for each piece; None: all of them together are not the content that is meant.

    The file is read once, and its digest computed while pieces are on their way.
    """
    state = hashlib.sha256()
    sent: list[Future[dict[str, Any]]] = []
    with open(one.path, "rb", buffering=0) as file, ThreadPoolExecutor(_AT_ONCE, "steno-piece") as pool:
        try:
            for number in range(1, -(-one.size // step) + 1):
                data = file.read(step)
                sent.append(pool.submit(send, number, data))
                state.update(data)
                if number > _AT_ONCE:
                    sent[number - 1 - _AT_ONCE].result()  # what is in memory is bounded
            parts = [future.result() for future in sent]
        except BaseException:
            for future in sent:
                future.cancel()
            raise
        is_whole = state.hexdigest() == one.sha256 and not file.read(1)
    return parts if is_whole else None


def _step(size: int) -> int:
    """Bytes in a piece, by the file's size alone: what was started goes on in the same steps."""
    return max(PIECE_BYTES, -(-size // _PIECES))


def _resume(store: Bucket, one: Sending, names: Mapping[str, str]) -> tuple[str, dict[int, str]]:
    """An upload of this very file that was started and not ended, with its pieces' ETags by number; else a new one.

    Which content an upload was started for cannot be asked, so its first piece is compared by its MD5, as all are
    later. Other uploads of this key are of other contents or hold nothing yet, and are removed.
    """
    step = _step(one.size)
    for upload in _unfinished(store, names):
        have = _pieces(store, upload, names)
        if have:
            number = min(have)
            with open(one.path, "rb") as file:
                file.seek((number - 1) * step)
                if _md5(file.read(step))[0] == have[number]:
                    return upload, have
        with contextlib.suppress(FileNotFoundError, PermissionError):
            store.fs.call_s3("abort_multipart_upload", **names, UploadId=upload)
    answer = store.fs.call_s3("create_multipart_upload", **names, Metadata={DIGEST: one.sha256})
    return str(answer["UploadId"]), {}


def _unfinished(store: Bucket, names: Mapping[str, str]) -> list[str]:
    """The ids of the uploads of this key that are not ended, the newest first; none without the right to ask."""
    try:
        answer = store.fs.call_s3("list_multipart_uploads", Bucket=names["Bucket"], Prefix=names["Key"])
    except PermissionError:
        return []
    found = [one for one in answer.get("Uploads") or () if one["Key"] == names["Key"]]
    return [str(one["UploadId"]) for one in sorted(found, key=lambda one: one["Initiated"], reverse=True)]


def _pieces(store: Bucket, upload: str, names: Mapping[str, str]) -> dict[int, str]:
    have: dict[int, str] = {}
    marker = 0
    while True:
        try:
            answer = store.fs.call_s3("list_parts", **names, UploadId=upload, PartNumberMarker=marker)
        except (PermissionError, FileNotFoundError):
            return {}
        have |= {part["PartNumber"]: part["ETag"].strip('"') for part in answer.get("Parts") or ()}
        if not answer.get("IsTruncated"):
            return have
        marker = int(answer["NextPartNumberMarker"])


def unfinished(store: Bucket) -> set[str]:
    """The keys of the uploads below the store's place that are not ended."""
    names = _names(store, "")
    head = names["Key"]
    found: set[str] = set()
    marker: dict[str, str] = {}
    while True:
        try:
            answer = store.fs.call_s3("list_multipart_uploads", Bucket=names["Bucket"], Prefix=head, **marker)
        except PermissionError:
            return found
        found |= {one["Key"].removeprefix(head) for one in answer.get("Uploads") or ()}
        if not answer.get("IsTruncated"):
            return found
        marker = {"KeyMarker": answer["NextKeyMarker"], "UploadIdMarker": answer["NextUploadIdMarker"]}


def forget(store: Bucket, key: str) -> None:
    """Remove the uploads of a key that nobody will end any more."""
    names = _names(store, key)
    for upload in _unfinished(store, names):
        with contextlib.suppress(FileNotFoundError, PermissionError):
            store.fs.call_s3("abort_multipart_upload", **names, UploadId=upload)
