"""Media files that are damaged, or unfold into more than a reader's memory: one error, and no memory."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

import steno
from steno.media import files
from steno.record import Ref


def lying_npz(path: Path) -> None:
    """Eight gigabytes of zeros in eight megabytes."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out,
        out.open("x.npy", "w", force_zip64=True) as file,
    ):
        file.write(
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1073741824,), }".ljust(117)
            + b"\n"
        )
        for _ in range(3 << 10):
            file.write(bytes(1 << 20))


def npy_of_any_shape(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as out:
        out.writestr(
            "x.npy",
            b"\x93NUMPY\x01\x00v\x00"
            + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1073741824, 1073741824), }".ljust(117)
            + b"\n",
        )


def picture(path: Path, side: int = 60_000) -> None:
    """A PNG that says that it has so many pixels, each row of zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer, rows = zlib.compressobj(), b""
    for _ in range(200):
        rows += packer.compress(bytes(3 * side + 1))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows + packer.flush()) + chunk(b"IEND", b"")
    )


def film(path: Path) -> None:
    """A GIF whose every picture is small in the file: 300 of 3,000 x 3,000."""
    from PIL import Image

    Image.new("P", (3000, 3000)).save(path, "GIF")
    data = path.read_bytes()
    head = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    path.write_bytes(data[:head] + 300 * data[head:-1] + b";")


def holes(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(20 << 30)


def wav(path: Path) -> None:
    holes(path)
    with open(path, "r+b") as file:
        size = (20 << 30) & 0xFFFFFFFF
        file.write(
            b"RIFF"
            + struct.pack("<I", size)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
            + b"data"
            + struct.pack("<I", size)
        )


READ = """
import resource, sys
from pathlib import Path
from steno.media import files
from steno.record import Ref
import steno, numpy, PIL.Image, pyarrow.parquet
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    files.value(Path(sys.argv[1]), Ref(sys.argv[2], sys.argv[3], {"ext": sys.argv[4]}))
except steno.CorruptError as error:
    print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize(
    ("kind", "ext", "make"),
    [
        ("mesh", "npz", lying_npz), ("tensor", "npz", lying_npz), ("mesh", "npz", npy_of_any_shape), ("image", "png", picture),
        ("figure", "png", picture), ("video", "gif", film), ("text", "txt", holes), ("html", "html", holes), ("audio", "wav", wav),
        ("histogram", "json", holes), ("figure", "json", holes), ("table", "parquet", holes), ("mesh", "npz", holes), ("image", "png", holes),
        ("text", "raw", holes),
    ],
)  # fmt: skip
def test_a_bomb_is_refused(tmp_path, kind, ext, make):
    digest = hashlib.sha1(ext.encode()).hexdigest()
    path = tmp_path / "media" / digest[:2] / f"{digest}.{ext}"
    path.parent.mkdir(parents=True)
    make(path)
    shown = "txt" if ext == "raw" else ext
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path), digest, kind, shown], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer, grown = done.stdout.split()
    assert answer == "refused"
    assert int(grown) < 2300, "MiB"


@pytest.mark.parametrize(
    ("kind", "ext"),
    [
        ("image", "png"), ("mask", "png"), ("figure", "png"), ("figure", "json"), ("audio", "wav"), ("video", "gif"), ("histogram", "json"),
        ("text", "txt"), ("html", "html"), ("table", "parquet"), ("mesh", "npz"), ("pr_curve", "json"), ("embedding", "npz"), ("tensor", "npz"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe\x00\x01" * 100,
        b"[" * 100_000,
        b"PK\x03\x04" + bytes(100),
        b"RIFF" + bytes(100),
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_a_damaged_file_is_one_error(tmp_path, kind, ext, data):
    digest = hashlib.sha1(data).hexdigest()
    path = tmp_path / "media" / digest[:2] / f"{digest}.{ext}"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    readable = kind in {"text", "html"} and not data.startswith((b"\xff", b"\x89"))
    if readable:
        assert files.value(tmp_path, Ref(digest, kind, {"ext": ext})) == data.decode()
        return
    with pytest.raises(steno.CorruptError, match=digest):
        files.value(tmp_path, Ref(digest, kind, {"ext": ext}))


@pytest.mark.parametrize("what", ["pipe", "link", "directory"])
def test_what_is_no_file_is_one_error(tmp_path, what):
    digest = "a" * 40
    path = tmp_path / "media" / "aa" / f"{digest}.txt"
    path.parent.mkdir(parents=True)
    if what == "pipe":
        os.mkfifo(path)
    elif what == "link":
        path.symlink_to("/etc/hostname")
    else:
        path.mkdir()
    with pytest.raises(steno.CorruptError):
        files.value(tmp_path, Ref(digest, "text", {"ext": "txt"}))
