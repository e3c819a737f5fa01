"""Uploads a run, in a process of its own: sealed parts, media, artifacts, and last what says that they are there.

The collector writes JSON lines to its stdin: first {"node", "stores"}, then {"look": n} to have it look for what is
new. It answers on its stdout with its state and numbers, {"looked": n} among them. When stdin closes it is gone at
once: whatever was on its way is sent again, a large file on S3 from the piece where it stood.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from steno import files, host, runfile, statusfile
from steno.collector.uploads import artifacts_json, attempts
from steno.collector.uploads.files import ARTIFACTS, ROLES, STORE, Belonging, is_for, of_run
from steno.collector.uploads.flat_cards import FlatCards
from steno.collector.uploads.location import Location
from steno.collector.uploads.overviews import Overviews
from steno.collector.uploads.progress import UploadCounts
from steno.collector.uploads.unsealed import UnsealedUpload
from steno.delivery.backoff import Backoff
from steno.destinations import asked
from steno.errors import UsageError
from steno.ledger import manifest, node_object
from steno.ledger.listed import MANIFEST
from steno.ledger.read import Reader
from steno.ledger.snapshot import Part
from steno.objects import url as urls
from steno.record import ARTIFACT, node_name
from steno.secrecy import error_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from steno.ledger.snapshot import Snapshot

TRANSFERS: Final = 8
ELSEWHERE: Final = "artifacts-store.json"
"""Says where the run's artifacts are, when they have a store of their own."""
_FIRST_WAIT_SECS: Final = 0.25
_LAST_WAIT_SECS: Final = 15.0
_LOOK_SECS: Final = 1.0
_SHARE: Final = 50
"""Looking for what is new takes at most one part in so many of a processor. Of two looks that follow each other the
cheaper one counts: the first one loads a store's library, and one that sends is no mere look."""
_TELL_SECS: Final = 0.2
_NEWS_SECS: Final = 30.0
"""A node that has nothing to say says so much as that."""
_MOST_NEWS_SECS: Final = 500.0
"""After ten minutes without news of any node a job's run is over for who comes."""
_SILENT_SECS: Final = 50.0
_TRIES: Final = 10
_DOWN: Final = 4
"""After so many failures with no success between them the store is taken to be down."""
_ERROR_CHARS: Final = 500


class Uploader:
    """Brings a run to its stores and keeps it there up to date. `run` works until the process ends.

    Args:
        run_dir: the run's directory.
        node: this node's number.
        stores: role → URL, see `files.ROLES`.
    """

    def __init__(self, run_dir: Path, node: int, stores: Mapping[str, str]) -> None:
        self.state = "waiting"
        self.looked = 0
        self.asked = 0
        self._run_dir = run_dir
        self._node = node
        self._node_dir = run_dir / ".steno" / "nodes" / node_name(node)
        self._stores = {role: stores[role] for role in ROLES if role in stores}
        if self._stores.get(ARTIFACTS) == self._stores.get(STORE):
            self._stores.pop(ARTIFACTS, None)  # they go with the run
        self._counts = UploadCounts()
        self._gate = threading.Semaphore(TRANSFERS)
        self._locations: dict[str, Location] = {}
        self._wake = threading.Event()
        self._published: dict[tuple[str, str], bytes] = {}
        self._news: dict[tuple[str, str], float] = {}
        self._end_published: dict[str, dict[str, Any]] = {}
        """By role, what this node said of itself when it had ended."""
        self._own: dict[str, Any] = {}
        self._unsealed = UnsealedUpload(node, asked.live_secs(run_dir) if STORE in self._stores else 0.0)
        self._news_secs = news_secs(self._unsealed.every_secs)
        self._cards = FlatCards(run_dir, self._unsealed.every_secs)
        self._overviews = Overviews(run_dir, node)
        self._greeted = False
        self._objects: dict[str, tuple[Location, dict[str, Any]]] = {}
        """By role, what this node's object says."""
        self._beat_at = time.monotonic() + self._news_secs
        self._beating = threading.Lock()
        self._failures = 0

    def ask(self, number: int) -> None:
        """Look soon for what is new; `looked` says when that is done."""
        self.asked = max(self.asked, number)
        self._wake.set()

    def facts(self) -> dict[str, Any]:
        """What the collector gets."""
        places = {role: location.store.url for role, location in self._locations.items() if location.is_claimed}
        return {
            "state": self.state,
            "looked": self.looked,
            "stores": {**self._stores, **places},
            **self._counts.numbers(),
        }

    def run(self) -> None:
        """Upload until the process ends; returns only when a store can never be used from here."""
        try:
            for role, url in self._stores.items():
                self._locations[role] = Location(role, urls.check(role, url), self._node_dir, self._gate)
        except UsageError as error:
            self.state, self._counts.error = "stopped", str(error)
            return
        backoff = Backoff(_FIRST_WAIT_SECS, _LAST_WAIT_SECS)
        spent = 0.0
        while True:
            self._wake.clear()
            asked, began, before_that, made = self.asked, time.process_time(), spent, self._overviews.cpu_secs
            before = self._counts.numbers()["retries"]
            try:
                whole = self._sweep()
            except Exception as error:  # the store, the ledger of a collector that works, a full disk
                self._counts.failed("", error_text(error)[:_ERROR_CHARS])
                whole = False
            if whole:
                self.looked = asked
                backoff.reset()
                # Bins over many parts are made rarely, and are no reason to look less often.
                spent = time.process_time() - began - (self._overviews.cpu_secs - made)
                self._wake.wait(pause_secs(min(spent, before_that), self._unsealed))
                continue
            self.state = "retrying"
            # Spread, for the uploaders of many runs that a store's return would wake together.
            time.sleep(backoff.next() * random.uniform(0.7, 1.0))
            if self._counts.numbers()["retries"] == before:
                backoff.reset()

    def _sweep(self) -> bool:
        """Send what is missing, then publish it; whether all that there is now is in the stores."""
        written = time.time_ns()
        ended = files.read_json(self._node_dir / MANIFEST)
        whole = files.read_json(self._run_dir / MANIFEST) if ended else {}
        snapshot = self._snapshot(ended=bool(ended))
        about, _ = runfile.read(self._run_dir)
        if not about.get("id"):
            return True  # being made
        about["project"] = about.get("project") or self._run_dir.parent.name
        about["name"] = about.get("name") or self._run_dir.name
        for location in self._locations.values():
            location.claim(about)
            location.tell(about)
        if STORE in self._locations:
            shared = attempts.join(self._locations[STORE].store, self._run_dir, self._node, snapshot.streams)
        else:
            shared = {}
        self._own = self._said(snapshot, shared, ended=bool(ended))
        if not self._greeted:
            self._greet(written)
        parts = self._parts(whole, snapshot)
        wanted = of_run(self._run_dir, parts, self._locations)
        if not self._send(wanted):
            return False
        for location in self._locations.values():
            self._require(location, [Part(**row) for row in whole["parts"]] if whole else parts)
            if location.role == STORE:
                self._own["overviews"] = self._overviews.bring(
                    location, parts, ranks=len({one.rank for one in snapshot.streams if one.node == self._node}),
                    ended=bool(ended),
                )  # fmt: skip
            self._publish(location, whole, written, ended=bool(ended))
        self.state = "complete" if ended else "waiting"
        self._counts.error = self._cards.denied or None
        return True

    def _snapshot(self, *, ended: bool) -> Snapshot:
        """What is there, and with it in `_unsealed` what no part has, of the same moment."""
        reader = Reader(self._run_dir)
        snapshot = reader.snapshot(batches=False)
        for _ in range(_TRIES):
            if self._node in snapshot.unreadable:  # then its parts are a guess
                raise OSError(snapshot.unreadable[self._node])
            sealed = max((part.last_batch for part in snapshot.parts if part.node == self._node), default=0)
            if self._unsealed.hold(snapshot, reader.nodes().get(self._node), sealed, is_wanted=not ended):
                return snapshot
            snapshot = reader.snapshot(batches=False)  # a part was sealed meanwhile
        msg = "parts are sealed faster than they can be listed"
        raise OSError(msg)

    def _parts(self, whole: Mapping[str, Any], snapshot: Snapshot) -> list[Part]:
        """This node's; of a run that has ended on all nodes also what other nodes have not brought."""
        if not whole:
            return [part for part in snapshot.parts if part.node == self._node]
        parts = [Part(**row) for row in whole["parts"]]
        others = [part for part in parts if part.node != self._node]
        for location in self._locations.values() if others else ():
            location.look_again()
        return [
            part
            for part in parts
            if part.node == self._node
            or not all(location.holds(part.name, part.bytes) for location in self._locations.values())
        ]

    # -- sending -----------------------------------------------------------------------------------------

    def _send(self, wanted: Mapping[str, list[Belonging]]) -> bool:
        every = [(self._locations[role], one) for role, found in wanted.items() for one in found]
        todo = [(location, one) for location, one in every if location.lacks(one)]
        self._counts.plan(
            len(every), sum(one.size for _, one in every), {_name(location, one): one.size for location, one in todo}
        )
        if not todo:
            return True
        self.state = "uploading"
        self._failures = 0
        with ThreadPoolExecutor(TRANSFERS, thread_name_prefix="steno-upload") as pool:
            return all(list(pool.map(lambda pair: self._send_one(*pair), todo)))

    def _send_one(self, location: Location, one: Belonging) -> bool:
        if self._failures >= _DOWN:
            return False
        name = _name(location, one)
        try:
            location.send(one, lambda count: self._moved(name, count))
        except Exception as error:
            self._failures += 1
            self._counts.failed(name, f"{one.key}: {error_text(error)[:_ERROR_CHARS]}")
            return False
        self._failures = 0
        self._counts.arrived(name)
        return True

    def _moved(self, name: str, count: int) -> None:
        """Bytes have gone. What takes minutes must not look like silence: the node's objects are put as they are."""
        self._counts.moved(name, count)
        if time.monotonic() < self._beat_at or not self._beating.acquire(blocking=False):
            return
        try:
            for location, said in list(self._objects.values()):
                now = {**said, "written": time.time_ns()}
                location.store.write(node_object.key(self._node), node_object.encoded(now))
                self._card(location, said)
            self._beat_at = time.monotonic() + self._news_secs
        except Exception as error:  # the sending itself will say it, too
            self._counts.error = error_text(error)[:_ERROR_CHARS]
        finally:
            self._beating.release()

    @staticmethod
    def _require(location: Location, parts: Iterable[Part]) -> None:
        """Raise FileNotFoundError for a part that is not there: nothing may be published that names it."""
        for part in parts:
            if is_for(location.role, part.kind) and not location.holds(part.name, part.bytes):
                # Merged into another one meanwhile, which the next look finds; else it is lost here too.
                msg = f"the part {part.name} is listed and not there"
                raise FileNotFoundError(msg)

    # -- publishing --------------------------------------------------------------------------------------

    def _said(self, snapshot: Snapshot, shared: Mapping[int, int], *, ended: bool) -> dict[str, Any]:
        """What this node's object says, but for the parts that a store does not have yet."""
        mine = manifest.piece(snapshot, self._node)
        # A checkpoint must be found as soon as it is there, not when its entry is sealed.
        unsealed = [one for one in snapshot.entries if one.kind == ARTIFACT and one.node == self._node]
        held = {one.record for one in unsealed}
        unsealed += [one for one in self._unsealed.entries if one.record not in held]
        mine["entries"] = [dataclasses.asdict(one) for one in sorted(unsealed, key=lambda one: one.record)]
        mine["unsealed"] = self._unsealed.text
        mine["step"] = max(self._unsealed.step, known_step(self._node_dir))
        recorded = {row["attempt"] for row in mine["streams"]}
        mine["attempts"] = [
            row
            for row in manifest.attempts(self._run_dir, mine["streams"])
            if row["attempt"] in recorded or shared.get(row["attempt"], row["attempt"]) == row["attempt"]
        ]
        mine |= {
            "ended": ended,
            "silent_secs": max(_SILENT_SECS, 10 * self._unsealed.every_secs),
            "shared": attempts.published(shared, recorded),
            "started_ranks": {} if recorded else self._started_ranks(shared),
            "host": host.name(),
        }
        latest = max((row["attempt"] for row in mine["attempts"]), default=1)
        facts = files.read_json(self._run_dir / ".steno" / "attempts" / f"{latest:04d}.json")
        return {**mine, "world_size": facts.get("world_size")}

    def _started_ranks(self, shared: Mapping[int, int]) -> dict[str, list[int]]:
        """By the run's number of an attempt, the ranks that are in it, while nothing of them is posted."""
        found = attempts.started_ranks(self._run_dir)
        return {str(shared.get(number, number)): sorted(ranks) for number, ranks in found.items()}

    def _greet(self, written: int) -> None:
        """Say that this node is there, before anything that takes time."""
        nothing: dict[str, Any] = {"parts": [], "entries": [], "unsealed": ""}
        for location in self._locations.values():
            if not location.has(node_object.key(self._node)):
                self._objects[location.role] = location, {**self._own, **nothing}
                said = {**self._own, **nothing, "written": written}
                location.store.write(node_object.key(self._node), node_object.encoded(said))
                self._card(location, self._own)
        self._greeted = True

    def _publish(self, location: Location, whole: Mapping[str, Any], written: int, *, ended: bool) -> None:
        """Say what is there, once it is."""
        names = artifacts_json.rows(self._run_dir, location.has)
        data = json.dumps(names).encode()
        if names and self._published.get((location.role, artifacts_json.NAME)) != data:
            artifacts_json.put(location.store, self._node, names)
            self._published[location.role, artifacts_json.NAME] = data
        elsewhere = self._locations.get(ARTIFACTS)
        if location.role == STORE and elsewhere is not None:
            self._put(location, ELSEWHERE, json.dumps({"url": elsewhere.store.url}).encode())
        parts = [row for row in self._own["parts"] if is_for(location.role, row["kind"])]
        mine: dict[str, Any] = {**self._own, "parts": parts}
        self._replace(location, mine, written)
        self._card(location, mine)
        if ended:
            self._end(location, whole, written)

    def _card(self, location: Location, said: Mapping[str, Any]) -> None:
        """What lists need of the node, where it is time for it: an artifacts' own store is not listed."""
        if location.role == STORE:
            self._cards.put(location, said)

    def _replace(self, location: Location, said: dict[str, Any], written: int) -> None:
        """Put a node's object where it says something new, or nothing was said for so long that silence would count."""
        known = json.dumps(
            {**said, "step": 0, "streams": [row["state"] for row in said["streams"]]}, default=str
        ).encode()
        now, key = time.monotonic(), node_object.key(said["node"])
        quiet = said["ended"] or now < self._news.get((location.role, key), 0.0)
        if self._published.get((location.role, key)) == known and quiet:
            return
        location.store.write(key, node_object.encoded({**said, "written": written}))
        if said["node"] == self._node:
            self._objects[location.role] = location, said
            self._beat_at = now + self._news_secs
        self._published[location.role, key], self._news[location.role, key] = known, now + self._news_secs

    def _end(self, location: Location, whole: Mapping[str, Any], written: int) -> None:
        """This node has ended. Who finds that all have writes the run's manifest, for whoever has no steno."""
        if not self._lacks_end(location):
            return
        own = node_object.key(self._node)  # a list may be late
        keys = sorted({*self._nodes(location), own})
        there = {key: node_object.parsed(location.store.read(key)) for key in keys}
        # Of nodes that share this directory some may never come back: all is known of them here.
        here = {row["node"] for name in ("parts", "streams") for row in whole.get(name, ())}
        for node in here - {one["node"] for one in there.values() if one.get("ended")} - {self._node}:
            rows = {
                name: [row for row in whole[name] if row["node"] == node] for name in ("parts", "streams", "losses")
            }
            rows["parts"] = [row for row in rows["parts"] if is_for(location.role, row["kind"])]
            about = {name: whole.get(name) or {} for name in ("config", "summary")}
            left = {**self._own, **about, **rows, "node": node, "shared": {}, "entries": [], "overviews": []}
            self._replace(location, left, written)
            self._card(location, left)
            there[node_object.key(node)] = left
        if all(one.get("ended") for one in there.values()):
            listed = node_object.united(there.values())
            self._put(location, MANIFEST, _json({name: value for name, value in listed.items() if name != "silent"}))
            self._forget(location)
        self._end_published[location.role] = self._own

    def _lacks_end(self, location: Location) -> bool:
        return self._end_published.get(location.role) != self._own

    @staticmethod
    def _nodes(location: Location) -> list[str]:
        return [key for key in location.store.listing(node_object.FOLDER) if node_object.is_name(key)]

    def _put(self, location: Location, key: str, data: bytes) -> bool:
        """Write a small object unless it is there as it should be; whether it was not."""
        if self._published.get((location.role, key)) == data:
            return False
        location.store.write(key, data)
        self._published[location.role, key] = data
        return True

    @staticmethod
    def _forget(location: Location) -> None:
        """Give up what was started of large files that have arrived.

        It is a killed process's, whose request came to the store after the next process had asked it.
        """
        with contextlib.suppress(PermissionError):  # it costs room, and misleads nobody
            for key in location.store.unfinished():
                if location.has(key):
                    location.store.forget(key)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, default=str).encode()


def news_secs(every_secs: float) -> float:
    """After how long a node that has nothing to say says so: not between two sendings of what no part has."""
    return _NEWS_SECS if every_secs < _NEWS_SECS / 2 else min(1.5 * every_secs, _MOST_NEWS_SECS)


def pause_secs(spent: float, unsealed: UnsealedUpload) -> float:
    """How long to rest before the next look, after looks that took so many seconds of a processor.

    Never beyond the moment in which readers are owed what no part has.
    """
    rest = max(_LOOK_SECS, _SHARE * spent)
    return min(rest, unsealed.due_secs) if unsealed.every_secs else rest


def known_step(node_dir: Path) -> int:
    """The next automatic step, as the collector said last."""
    found = (files.read_json(node_dir / statusfile.FILE).get("counters") or {}).get("run")
    return found if isinstance(found, int) else 0


def _name(location: Location, one: Belonging) -> str:
    return f"{location.role}:{one.key}"


def main() -> int:
    """The child: upload until stdin closes."""
    # What third-party code prints must not get between our lines.
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    run_dir = Path(sys.argv[1])
    order = json.loads(sys.stdin.readline() or "{}")
    if not order:
        return 0
    node = int(order["node"])
    uploader = Uploader(run_dir, node, order["stores"])

    def listen() -> None:
        for line in sys.stdin:
            uploader.ask(int(json.loads(line)["look"]))
        os._exit(0)

    def tell() -> None:
        last: dict[str, Any] = {}
        while True:
            facts = uploader.facts()
            if facts != last:
                pipe.write(json.dumps(facts) + "\n")
                pipe.flush()
                last = facts
            time.sleep(_TELL_SECS)

    threading.Thread(target=listen, daemon=True).start()
    with open(run_dir / ".steno" / "nodes" / node_name(node) / "uploader.lock", "ab") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)  # a killed collector's uploader may take a moment to end
        threading.Thread(target=tell, daemon=True).start()
        uploader.run()
        threading.Event().wait()  # stopped: the collector ends us
    return 0
