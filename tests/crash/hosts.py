"""Hosts of one run on one disk: namespaces of their own with host names, frozen whole and thawed, killed whole.

    python tests/crash/hosts.py --rounds 100 --seed 1 --jobs 2

A host is stopped with its collector at a random moment, for three times the lease, while another host goes on with the
run; then it goes on and logs 1,000 more records. Every record that `log` returned from must be there once.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import under_test

LEASE_SECS = 1.0
FRESH = 1_000
TRAINER = """
import os, sys, time
import steno
root, mine, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
run = steno.init(project="p", name="r", dir=root, destinations=["csv"])
acked = os.open(f"{root}/acked-{mine}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
more, count = 0, 0
while True:
    run.log({f"x{mine}": count})
    os.write(acked, b"%d\\n" % count)
    count += 1
    if not more and os.path.exists(f"{root}/finish-{mine}"):
        more = count + 1000
    if count == more:
        break
    if pause:
        time.sleep(pause)
print(run.finish(30), flush=True)
"""


def can_make() -> bool:
    """Whether this user may make hosts."""
    if not shutil.which("unshare"):
        return False
    tried = subprocess.run([*_unshare(), "true"], capture_output=True, check=False)
    return tried.returncode == 0


def _unshare() -> list[str]:
    return ["unshare", "--uts", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc"]


def environment(**more: str) -> dict[str, str]:
    return under_test.environment(**{"STENO_ADOPT_SECS": str(LEASE_SECS), **more})


class Host:
    """Processes with a host name, process ids and a network of their own; everything else they share."""

    def __init__(self, name: str, *command: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [*_unshare(), "sh", "-c", f'hostname {name}; exec "$@"', "sh", *command],
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        self._space = None
        while self._space is None and time.monotonic() < deadline:
            self._space = self._of_child()
            time.sleep(0.005)

    def _of_child(self) -> int | None:
        own = os.stat("/proc/self/ns/pid").st_ino
        with contextlib.suppress(OSError):
            for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
                found = os.stat(f"/proc/{pid}/ns/pid").st_ino
                if found != own:
                    return found
        return None

    def pids(self) -> list[int]:
        """Its processes, as the machine numbers them."""
        found = []
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and os.stat(f"/proc/{name}/ns/pid").st_ino == self._space:
                    found.append(int(name))
        return found

    def _signal(self, number: int) -> None:
        for _ in range(2):  # one that was being started the first time
            for pid in self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def freeze(self) -> None:
        """Stop all of it, whatever it is in the midst of."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all of it at once, as the loss of a pod does."""
        self._signal(signal.SIGKILL)
        self.process.kill()
        self.process.communicate()

    def end(self, secs: float = 90) -> str:
        """Wait for its program; what that printed."""
        out, self.said = self.process.communicate(timeout=secs)
        err = self.said
        if self.process.returncode:
            msg = f"exit status {self.process.returncode}: {err[-2000:]}"
            raise AssertionError(msg)
        return out.strip()


def trainer(root: Path, number: int, *, pause: float = 0.0005, **env: str) -> Host:
    """A host that logs until it is told to finish: `finish-NUMBER` in the root, and 1,000 records more."""
    return Host(f"host-{number}", sys.executable, "-c", TRAINER, str(root), str(number), str(pause), **env)


def finish(root: Path, number: int) -> None:
    """Have a trainer log 1,000 records more and finish."""
    (root / f"finish-{number}").touch()


def wait_for(condition, secs: float = 60) -> None:
    deadline = time.monotonic() + secs
    while not condition():
        if time.monotonic() > deadline:
            msg = f"not within {secs} s"
            raise AssertionError(msg)
        time.sleep(0.01)


def acked(root: Path, number: int) -> list[int]:
    """What its `log` calls have returned from."""
    try:
        text = (root / f"acked-{number}").read_text()
    except FileNotFoundError:
        return []
    return [int(line) for line in text.split("\n")[:-1]]


def faults(root: Path, *numbers: int) -> list[str]:
    """What of the acknowledged records is not there, or there twice, and what was never logged."""
    import steno

    found = []
    with steno.open(root / "p" / "r") as book:
        keys = book.keys()
        for number in numbers:
            wanted = acked(root, number)
            there = book.series(f"x{number}", attempt="all") if f"x{number}" in keys else None
            values = [] if there is None else [int(value) for value in there.value]
            count = collections.Counter(values)
            lost = [one for one in wanted if not count[one]]
            twice = [one for one, times in count.items() if times > 1]
            strange = [one for one in count if one > len(wanted)]  # one may be logged and not acknowledged
            for what, which in (("lost", lost), ("twice", twice), ("never logged", strange)):
                if which:
                    found.append(f"host {number}: {len(which)} {what}, such as {sorted(which)[:3]} of {len(wanted)}")
        found += [str(loss) for loss in book.info.losses]
        if book.info.state != "finished":
            found.append(f"state {book.info.state}: {[str(one) for one in book.info.unposted]}")
    return found


def sync(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "steno", "sync", str(root / "p" / "r"), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def freezing(seed: int, place: Path | None = None) -> tuple[list[str], int, int]:
    """One round: (faults, acknowledged records, journals that were adopted)."""
    dice = random.Random(seed)
    root = Path(tempfile.mkdtemp(prefix=f"hosts-{seed}-", dir=place))
    hosts = []
    try:
        # Some write so fast that segments roll, some so slowly that a posting finds nothing.
        hosts = [trainer(root, number, pause=dice.choice([0.0002, 0.001, 0.005])) for number in (1, 2)]
        wait_for(lambda: len(acked(root, 1)) > 20 and len(acked(root, 2)) > 20)
        time.sleep(dice.uniform(0.0, 1.0))
        hosts[0].freeze()
        time.sleep(3 * LEASE_SECS)
        hosts[0].thaw()
        time.sleep(dice.uniform(0.0, 0.5))
        numbers = [1, 2]
        dice.shuffle(numbers)
        for number in numbers:
            finish(root, number)
            time.sleep(dice.choice([0.0, 0.5]))
        said = [host.end() for host in hosts]
        done = sync(root)
        found = faults(root, 1, 2)
        if done.returncode:
            found.append(f"sync {done.returncode}: {done.stdout}{done.stderr}")
        found += [f"finish said {one}: {host.said}" for one, host in zip(said, hosts, strict=True) if one != "True"]
        marks = len(list((root / "p" / "r" / ".steno" / "nodes").glob("*/collector.log")))
        if not found:
            count = len(acked(root, 1)) + len(acked(root, 2))
            shutil.rmtree(root)
            return found, count, marks
        return [f"seed {seed} in {root}: {one}" for one in found], len(acked(root, 1)) + len(acked(root, 2)), marks
    finally:
        for host in hosts:
            if host.process.poll() is None:
                host.thaw()
                host.kill()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    began, count, adopted, failed = time.monotonic(), 0, 0, 0
    with ThreadPoolExecutor(given.jobs) as pool:
        for found, records, marks in pool.map(freezing, range(given.seed, given.seed + given.rounds)):
            count, adopted, failed = count + records, adopted + bool(marks), failed + bool(found)
            for line in found:
                print(line, flush=True)
    print(
        f"{given.rounds} hosts frozen for {3 * LEASE_SECS:g} s, {adopted} adopted, {count:,} acknowledged records, "
        f"{failed} rounds with faults, {time.monotonic() - began:.0f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
