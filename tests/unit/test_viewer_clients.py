"""Clients that read slowly or vanish: the viewer answers the others, and keeps no thread and no file of them."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path

import pytest

import steno
import viewer_server

SLOW = 200


@pytest.fixture(scope="module")
def asker(tmp_path_factory):
    place = tmp_path_factory.mktemp("viewed")
    with steno.init(project="p", name="r", dir=str(place)) as run:
        for step in range(20_000):
            run.log({"x": step * 0.1}, step=step)
        assert run.finish(60)
    (place / "p" / "r" / "media").mkdir(exist_ok=True)
    (place / "p" / "r" / "media" / "large.bin").write_bytes(os.urandom(8 << 20))
    with viewer_server.serving(place) as asker:
        asker.ask("/api/runs")
        asker.card(keys=["x"], runs=["p/r"])
        yield asker


def held(asker):
    """(threads, open files) of the viewer's process."""
    process = f"/proc/{asker.viewer._process.pid}"
    return len(os.listdir(f"{process}/task")), len(os.listdir(f"{process}/fd"))


def begun(asker, path, body=b"", method="GET"):
    """A client that has asked, and reads nothing."""
    client = socket.create_connection((asker.host, asker.port), timeout=20)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {asker.token}\r\nX-Steno: 1\r\n"
    client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    return client


def settled(asker, files, threads):
    """Whether the process comes down to so many, soon after the last client is gone."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        now = held(asker)
        if now[1] <= files and now[0] <= threads:
            return True
        time.sleep(0.1)
    return False


def test_two_hundred_slow_clients_keep_nobody_waiting(asker):
    files = held(asker)[1]
    card = json.dumps({"runs": ["p/r"], "cards": [{"id": "a", "keys": ["x"], "width": 8192}]}).encode()
    paths = ["/api/live", "/api/series?run=p%2Fr&key=x", "/api/media/p%2Fr/media/large.bin", "/api/chart"]
    clients = []
    for number in range(SLOW):
        path = paths[number % len(paths)]
        clients.append(begun(asker, path, *((card, "POST") if path == "/api/chart" else ())))
    waits = []
    for _ in range(5):
        start = time.monotonic()
        assert asker.ask("/api/runs").json["total"] == 1
        waits.append(time.monotonic() - start)
    assert min(waits) < 2
    assert asker.card(keys=["x"], runs=["p/r"])["points"] == 20_000
    for client in clients:
        client.close()
    # The pool's threads stay for the next requests; there are at most 40 of them, however many clients came.
    assert settled(asker, files + 2, 60), held(asker)


@pytest.mark.parametrize("path", ["/api/live", "/api/series?run=p%2Fr&key=x", "/api/media/p%2Fr/media/large.bin"])
def test_a_client_that_vanishes_leaves_no_thread_and_no_file(asker, path):
    for _ in range(3):  # whatever a first request makes that stays
        begun(asker, path).close()
    time.sleep(1)
    threads, files = held(asker)
    for _ in range(30):
        client = begun(asker, path)
        client.recv(100)
        client.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )  # a reset, as of a machine that is gone
        client.close()
    assert settled(asker, files + 2, max(threads, 48)), (threads, files, held(asker))


def test_a_page_that_is_watched_for_long_costs_no_more_memory_threads_or_files(tmp_path):
    cards = [{"id": f"k{key}", "keys": [f"k{key}"], "width": 300} for key in range(12)]
    run = steno.init(project="p", name="r", dir=str(tmp_path))
    with viewer_server.serving(tmp_path) as asker:
        pid = asker.viewer._process.pid

        def looks(count, begin):
            """So many batches of records, each drawn as soon as it is stored."""
            for look in range(begin, begin + count):
                for step in range(20 * look, 20 * look + 20):
                    run.log({f"k{key}": step * 0.1 for key in range(12)}, step=step)
                run.flush(30)
                answer = asker.ask("/api/chart", "POST", {"runs": ["p/r"], "cards": cards}, **viewer_server.SAME)
                assert answer.status == 200

        def memory():
            lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
            return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))

        looks(20, 0)
        before, kept = memory(), held(asker)
        looks(40, 20)
        # The points that no part has yet are in memory, a few times over: 9,600 of 70 bytes.
        assert memory() - before < 12 << 10
        assert held(asker)[0] <= kept[0] + 2
        assert held(asker)[1] <= kept[1] + 2
    run.finish(30)
