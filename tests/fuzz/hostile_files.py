"""Changes to the files of a run, as a stranger makes them: at random, and in the structure of each kind of file."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sqlite3
import struct
import zlib
from pathlib import Path

import crc32c
import msgspec

from steno.journal import format as fmt

DEEP = 100_000


def values(rng: random.Random, outside: Path) -> object:
    """A value that nobody expects."""
    number = rng.choice([0, -1, 1, 2, 2**31, 2**31 - 1, 2**53 + 1, 2**62, 2**63 - 1, 2**63, -(2**63), 2**64, 10**30])
    text = rng.choice(
        [
            "", "x", ".", "..", "/", "a/b", "../" * 8 + f"{outside}/secret", f"{outside}/secret", str(outside), "a\0b", "\ud800",
            "\x1b[2J", "x" * 70_000, "metrics/00-part-000001.parquet", "run.json", ".steno", "00", "nan", "1", "-1", "1e999", "true",
            "<b>", "'; drop table parts; --", "%s%n", "file:///etc/passwd", "s3://bucket/x", "csv", "wandb", "2026-01-01T00:00:00Z",
        ]
    )  # fmt: skip
    return rng.choice(
        [number, number, text, text, text, None, True, False, 0.5, -0.0, 1e308, float("nan"), float("inf"), -1e300, [], {}, [[]],
         [None], {"": None}, [text], {text: number}, [number] * 100, {"a": {"b": {"c": [text]}}}]
    )  # fmt: skip


def at_random(rng: random.Random, data: bytes) -> bytes:
    """Other bytes: some changed, cut, doubled or put in."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        how = rng.randrange(7)
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice([1, 2, 4, 8, 64, 4096]))
        if how == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at:end] = rng.randbytes(end - at)
        elif how == 2:
            data[at:end] = bytes(end - at)
        elif how == 3:
            data[at:end] = b"\xff" * (end - at)
        elif how == 4:
            del data[at : rng.choice([end, len(data)])]
        elif how == 5:
            data[at:at] = rng.randbytes(rng.choice([1, 8, 1000]))
        else:
            data[at:at] = data[rng.randrange(len(data) + 1) :][: rng.choice([8, 64, 4096])]
    return bytes(data)


def places(value: object) -> list[tuple[object, object]]:
    """(what holds, key) of everything in a JSON value."""
    found: list[tuple[object, object]] = []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        found.append((value, key))
        found += places(one)
    return found


def in_structure(rng: random.Random, value: object, outside: Path) -> object:
    """The value with some parts replaced, removed, doubled or renamed."""
    whole = [value]
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        there = places(whole)
        holder, key = rng.choice(there)
        how = rng.randrange(6)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[str(values(rng, outside))[:1000]] = holder.pop(key)
        elif how == 2:
            holder[key] = json.loads(json.dumps(rng.choice([one[k] for one, k in there if _has(one, k)] or [None])))
        else:
            holder[key] = values(rng, outside)
        if not whole:
            return None
    return whole[0]


def _has(holder, key) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


def json_text(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """A JSON file with another content, or one that nests without end."""
    if rng.random() < 0.05:
        return rng.choice([b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a": ' + b"9" * 100_000 + b"}"])
    value = in_structure(rng, json.loads(data), outside)
    return json.dumps(value).encode("utf-8", "backslashreplace")


def json_lines(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """A file of JSON lines, one of them changed."""
    lines = data.splitlines() or [b"{}"]
    at = rng.randrange(len(lines))
    with contextlib.suppress(ValueError):
        lines[at] = json_text(rng, lines[at], outside)
    return b"\n".join(lines) + b"\n"


def ledger(rng: random.Random, path: Path, outside: Path) -> None:
    """A ledger with other contents or other tables."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [row[0] for row in connection.execute("select name from sqlite_master where type='table'")]
        full = [one for one in tables if connection.execute(f'select count(*) from "{one}"').fetchone()[0]]
        for _ in range(rng.choice([1, 1, 2, 3])):
            table = rng.choice(full or tables)
            columns = [row[1] for row in connection.execute(f'pragma table_info("{table}")')]
            if not columns:
                continue
            column = rng.choice(columns)
            how = rng.randrange(10)
            with contextlib.suppress(sqlite3.Error):
                if how == 0:
                    connection.execute(f'drop table "{table}"')
                elif how == 1:
                    connection.execute(f'alter table "{table}" rename column "{column}" to zz')
                elif how == 2:
                    connection.execute(f'delete from "{table}"')
                else:
                    connection.execute(
                        f'update "{table}" set "{column}"=?', (_cell(rng, connection, table, column, outside),)
                    )
        connection.commit()


def _cell(rng, connection, table, column, outside):
    found = connection.execute(f'select "{column}" from "{table}" order by random() limit 1').fetchone()
    old = found[0] if found else None
    if isinstance(old, bytes) and rng.random() < 0.7:
        return packed(rng, old, outside)
    if isinstance(old, str) and rng.random() < 0.6:
        with contextlib.suppress(ValueError):
            return json.dumps(in_structure(rng, json.loads(old), outside))
    made = values(rng, outside)
    if isinstance(made, list | dict):
        return json.dumps(made)
    if isinstance(made, int) and not isinstance(made, bool) and not -(2**63) <= made < 2**63:
        return float(made)
    return made.encode("utf-8", "surrogatepass").decode("utf-8", "replace") if isinstance(made, str) else made


def packed(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """A blob, changed as msgpack where it is that, else at random."""
    if rng.random() < 0.7:
        with contextlib.suppress(Exception):
            value = msgspec.msgpack.decode(data, ext_hook=msgspec.msgpack.Ext)
            return msgspec.msgpack.encode(msgspec_safe(in_structure(rng, value, outside)))
    with contextlib.suppress(zlib.error):
        return zlib.compress(at_random(rng, zlib.decompress(data)))
    return at_random(rng, data)


def msgspec_safe(value):
    if isinstance(value, int) and not isinstance(value, bool):
        return value if -(2**63) <= value < 2**64 else float(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [msgspec_safe(one) for one in value]
    if isinstance(value, dict):
        return {msgspec_safe(key): msgspec_safe(one) for key, one in value.items()}
    return value


def segment(rng: random.Random, data: bytes, outside: Path) -> bytes:
    """A journal segment whose frames say something else, and have the right checksums."""
    identities, frames, at = [], [], fmt.HEADER_BYTES
    for place in fmt.IDENTITY_AT:
        length, _ = fmt.FRAME.unpack_from(data, place)
        identities.append(msgspec.msgpack.decode(data[place + 8 : place + 8 + length]))
    nonce = identities[0]["nonce"]
    while at + 8 <= len(data):
        length, check = fmt.FRAME.unpack_from(data, at)
        body = data[at + 8 : at + 8 + length]
        if not length or crc32c.crc32c(body, nonce) != check:
            break
        frames.append(body)
        at += 8 + length
    if rng.random() < 0.2:
        changed = msgspec_safe(in_structure(rng, identities[0], outside))
        body = msgspec.msgpack.encode(changed)
        if len(body) + 8 <= fmt.IDENTITY_ROOM:
            frame = (fmt.FRAME.pack(len(body), crc32c.crc32c(body)) + body).ljust(fmt.IDENTITY_ROOM, b"\0")
            return data[: fmt.IDENTITY_AT[0]] + frame + frame + data[fmt.IDENTITY_AT[1] + fmt.IDENTITY_ROOM :]
    for _ in range(rng.choice([1, 1, 2, 5])):
        if frames:
            one = rng.randrange(len(frames))
            how = rng.randrange(5)
            if how == 0:
                frames[one] = at_random(rng, frames[one])
            elif how == 1:
                frames.insert(one, rng.choice(frames))
            else:
                frames[one] = packed(rng, frames[one], outside)
    body = b"".join(fmt.FRAME.pack(len(one), crc32c.crc32c(one, nonce)) + one for one in frames if one)
    return (data[: fmt.HEADER_BYTES] + body).ljust(len(data), b"\0")


def parquet(rng: random.Random, path: Path, outside: Path) -> None:
    """A Parquet file with other columns, types or values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    at = rng.randrange(table.num_columns)
    name, how = table.column_names[at], rng.randrange(6)
    if how == 0:
        table = table.remove_column(at)
    elif how == 1:
        table = table.rename_columns([other if other != name else "zz" for other in table.column_names])
    elif how == 2:
        made = values(rng, outside)
        text = made.encode("utf-8", "replace").decode() if isinstance(made, str) else json.dumps(made)
        table = table.set_column(at, name, pa.array([text] * len(table)))
    elif how == 3:
        table = table.set_column(at, name, pa.nulls(len(table), table.schema.field(at).type))
    elif how == 4:
        with contextlib.suppress(pa.ArrowException, OverflowError, TypeError):
            table = table.set_column(
                at, name, pa.array([values(rng, outside)] * len(table), table.schema.field(at).type)
            )
    else:
        table = table.take([rng.randrange(len(table)) for _ in range(len(table))] if len(table) else [])
    keep = table.schema.metadata if rng.random() < 0.7 else {b"steno": rng.randbytes(20)}
    pq.write_table(table.replace_schema_metadata(keep), path, compression=rng.choice(["zstd", "none", "gzip"]))


def as_a_whole(rng: random.Random, path: Path, outside: Path) -> None:
    """Another thing in the place of a file, or none."""
    how = rng.randrange(8)
    path.unlink()
    if how == 0:
        path.mkdir()
    elif how == 1:
        path.symlink_to(outside / "secret")
    elif how == 2:
        os.mkfifo(path)
    elif how == 3:
        path.write_bytes(b"")
    elif how == 4:
        with open(path, "wb") as file:
            file.truncate(20 << 30)  # of holes: it takes no room
    elif how == 5:
        path.write_bytes(rng.randbytes(1000))
    elif how == 6:
        path.symlink_to(outside)


def files(run_dir: Path) -> list[Path]:
    """Every file of a run but locks, which hold nothing."""
    return sorted(path for path in run_dir.rglob("*") if path.is_file() and not path.is_symlink())


def change(rng: random.Random, run_dir: Path, outside: Path) -> str:
    """Change a run somewhere; what was done, for whoever reads a failure."""
    there = files(run_dir)
    kinds = sorted({(path.suffix, path.parent.name if path.suffix == ".json" else "") for path in there})
    ours = [one for one in kinds if one[0] not in {".csv", ".txt", ".log", ".lock"}]
    kind = rng.choice(ours if rng.random() < 0.95 else kinds)  # each kind of file as often as the other
    path = rng.choice([one for one in there if (one.suffix, one.parent.name if one.suffix == ".json" else "") == kind])
    name, how = str(path.relative_to(run_dir)), rng.random()
    if how < 0.08:
        as_a_whole(rng, path, outside)
        return f"{name} as a whole"
    if how < 0.1:
        target = path.with_name(
            rng.choice(["x", "00", "99", "000000.seg", "0001.json", "-1.json", "\udcff", "a" * 200, "alive"])
        )
        if not target.exists():
            path.rename(target)
        return f"{name} renamed {target.name!r}"
    if how < 0.12:
        place = rng.choice([one for one in path.parents if one != run_dir and run_dir in one.parents] or [path])
        target = place.with_name(rng.choice(["x", "01", "99", "-1", "journal", "h-1-a", "a" * 200]))
        if not target.exists():
            place.rename(target)
        return f"{place.relative_to(run_dir)} renamed {target.name!r}"
    if how > 0.4:
        with contextlib.suppress(Exception):
            if path.suffix in {".json", ".pointer"}:
                path.write_bytes(json_text(rng, path.read_bytes(), outside))
            elif path.suffix == ".jsonl":
                path.write_bytes(json_lines(rng, path.read_bytes(), outside))
            elif path.suffix == ".sqlite":
                ledger(rng, path, outside)
            elif path.suffix == ".parquet":
                parquet(rng, path, outside)
            elif path.suffix == ".seg":
                path.write_bytes(segment(rng, path.read_bytes(), outside))
            else:
                path.write_bytes(packed(rng, path.read_bytes(), outside))
            return f"{name} in its structure"
    data = path.read_bytes()
    shutil.copystat(path, path)
    os.chmod(path, 0o644)
    path.write_bytes(at_random(rng, data[: 1 << 22]))
    return f"{name} at random"


def lying_pages(data: bytes, rng: random.Random) -> bytes:
    """A Parquet file with other numbers in what is no data: varints of 32 bits that grow."""
    at = rng.randrange(4, max(len(data) - 8, 5))
    return data[:at] + struct.pack("<I", 0x7FFFFFFF) + data[at + 4 :]
