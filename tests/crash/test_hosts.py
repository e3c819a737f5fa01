"""Several hosts on one disk, in namespaces of their own: who posts the journal of one that gives no sign of life."""

from __future__ import annotations

import contextlib
import os
import sys
import time

import hosts
import pytest
from hosts import Host, acked, environment, faults, finish, freezing, sync, trainer, wait_for

import steno
from clocks import shifted

pytestmark = pytest.mark.skipif(
    not hosts.can_make(), reason="hosts need the right to make UTS, network, PID and mount namespaces"
)


@pytest.fixture
def started():
    """Hosts that are killed at the end."""
    made: list[Host] = []
    yield made
    for host in made:
        if host.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                host.thaw()
                host.kill()


def journals(root, pattern: str = "*") -> list:
    return sorted((root / "p" / "r" / ".steno" / "journal").glob(pattern))


def test_a_host_that_was_frozen_loses_nothing_and_has_nothing_twice(tmp_path):
    """One moment of many: `hosts.py --rounds 100` takes a hundred."""
    found, count, _ = freezing(11, tmp_path)
    assert found == []
    assert count > 2 * hosts.FRESH


def test_two_live_hosts_adopt_nothing(kept_ledger, tmp_path, started):
    for number in (1, 2):
        started.append(trainer(tmp_path, number, pause=0.01))
    wait_for(lambda: acked(tmp_path, 1) and acked(tmp_path, 2))
    time.sleep(4 * hosts.LEASE_SECS)
    assert journals(tmp_path, "*/adopted-*") == []
    for number in (1, 2):
        finish(tmp_path, number)
    assert [host.end() for host in started] == ["True", "True"]
    assert sync(tmp_path).returncode == 0
    assert faults(tmp_path, 1, 2) == []
    assert journals(tmp_path, "*/adopted-*") == []


def _kill(tmp_path, started, **env: str) -> None:
    """A host that logs, and is killed whole with what its collector has not posted."""
    started.append(trainer(tmp_path, 1, pause=0.002, **env))
    wait_for(lambda: len(acked(tmp_path, 1)) > 500)
    # As on a full machine: the collector stands still for a while before the end.
    for pid in started[0].pids():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
            if b"steno.collector" in file.read():
                os.kill(pid, 19)
    count = len(acked(tmp_path, 1))
    wait_for(lambda: len(acked(tmp_path, 1)) > count + 300)
    started[0].kill()


def test_a_dead_hosts_journal_is_said_and_sync_posts_it(tmp_path, started):
    _kill(tmp_path, started)
    run_dir = tmp_path / "p" / "r"
    # As soon as its stamp is too old for a living writer.
    deadline = time.monotonic() + 20
    while steno.open(run_dir).info.state == "running" and time.monotonic() < deadline:
        time.sleep(0.1)
    with steno.open(run_dir) as book:
        assert book.info.state != "finished"
        (left,) = book.info.unposted
        assert left.host == "host-1"
        assert left.records >= 300
        assert left.bytes > 3000
        assert left.age_secs < 60
    doctor = _command("doctor", str(run_dir))
    assert "steno sync --adopt" in doctor
    done = sync(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = faults(tmp_path, 1)
    assert [one for one in found if "state crashed" not in one] == []
    assert "are not posted" not in _command("doctor", str(run_dir))
    # Its segments stay for a writer that wakes, and nobody takes it over again.
    assert len(journals(tmp_path, "*/adopted-*")) == 1
    assert journals(tmp_path, "*/*.seg")
    assert sync(tmp_path).returncode == 0
    assert len(journals(tmp_path, "*/adopted-*")) == 1


def _command(*arguments: str) -> str:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "steno", *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


def test_without_a_lease_only_sync_adopts_and_then_at_once(tmp_path, started):
    _kill(tmp_path, started, STENO_ADOPT_SECS="0")
    run_dir = tmp_path / "p" / "r"
    never = Host("host-2", sys.executable, "-m", "steno.collector", str(run_dir), "--once", STENO_ADOPT_SECS="0")
    never.end()
    assert journals(tmp_path, "*/adopted-*") == []
    at_once = Host("host-2", sys.executable, "-m", "steno", "sync", str(run_dir), "--adopt", STENO_ADOPT_SECS="0")
    at_once.end()
    assert [one for one in faults(tmp_path, 1) if "state crashed" not in one] == []


def test_of_two_adopters_at_once_one_wins(tmp_path, started):
    _kill(tmp_path, started)
    run_dir = tmp_path / "p" / "r"
    command = (sys.executable, "-m", "steno.collector", str(run_dir), "--once", "--adopt")
    adopters = [Host(f"host-{number}", *command) for number in (2, 3, 4)]
    for host in adopters:
        host.end()
    assert len(journals(tmp_path, "*/adopted-*")) == 1
    assert [one for one in faults(tmp_path, 1) if "state crashed" not in one] == []


def test_an_adopter_that_dies_is_followed_by_another(tmp_path, started):
    _kill(tmp_path, started)
    run_dir = tmp_path / "p" / "r"
    (place,) = journals(tmp_path, "host_1-*")
    first = Host("host-2", sys.executable, "-m", "steno.collector", str(run_dir), "--once", "--adopt")
    wait_for(lambda: (place / "adopted-1").exists())
    first.kill()  # with its mark made, whatever it has posted
    done = Host("host-3", sys.executable, "-m", "steno", "sync", str(run_dir))
    done.end()
    assert [one for one in faults(tmp_path, 1) if "state crashed" not in one] == []


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_changes_nothing(tmp_path, started, hours):
    """The stamps of one host seem to be an hour old, or to come: nobody takes it for dead, or for alive."""
    started.append(trainer(tmp_path, 1, pause=0.0005))
    started.append(trainer(tmp_path, 2, pause=0.01))
    wait_for(lambda: acked(tmp_path, 1) and acked(tmp_path, 2))
    (place,) = journals(tmp_path, "host_1-*")
    until = time.monotonic() + 4 * hosts.LEASE_SECS
    while time.monotonic() < until:
        moment = time.time() + hours * 3600
        os.utime(place / "writer.json", (moment, moment))
        time.sleep(0.05)
    assert journals(tmp_path, "*/adopted-*") == []
    started[0].freeze()
    moment = time.time() + hours * 3600
    os.utime(place / "writer.json", (moment, moment))
    wait_for(lambda: (place / "adopted-1").exists(), 20 * hosts.LEASE_SECS)
    started[0].thaw()
    for number in (1, 2):
        finish(tmp_path, number)
    assert [host.end() for host in started] == ["True", "True"]
    assert sync(tmp_path).returncode == 0
    assert faults(tmp_path, 1, 2) == []


def test_hosts_whose_clocks_differ_share_a_directory_without_a_lock_between_them(tmp_path, started):
    """As on NFS: two hours lie between their clocks, the file server's is a third one, and their process ids are equal."""
    clock = shifted(tmp_path)
    for number, secs in ((1, -3600), (2, 3600)):
        started.append(trainer(tmp_path, number, pause=0.005, **clock(secs)))
    wait_for(lambda: len(acked(tmp_path, 1)) > 100 and len(acked(tmp_path, 2)) > 100)
    with steno.open(tmp_path / "p" / "r") as reader:
        wait_for(lambda: {"x1", "x2"} <= set(reader.keys()))
        assert reader.info.state == "running"
    time.sleep(2 * hosts.LEASE_SECS)
    for number in (1, 2):
        finish(tmp_path, number)
    assert [host.end() for host in started] == ["True", "True"]
    assert journals(tmp_path, "*/adopted-*") == []
    assert sync(tmp_path).returncode == 0
    assert faults(tmp_path, 1, 2) == []
    with steno.open(tmp_path / "p" / "r") as reader:
        early, late = reader.series("x1"), reader.series("x2")
        assert 7000 < (late.time[0] - early.time[0]) / 1e9 < 7400
        assert not set(early.node) & set(late.node)
        pids = reader.sql("select payload->>'pid' from records where kind = 'start'").fetchall()
        assert len(pids) == 2
        assert len(set(pids)) == 1
