"""The viewer's news: each client gets what it missed or is told to ask all again, and no open page keeps the viewer."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
import viewer_server
from steno.viewer.live import LiveStreams
from steno.viewer.news import Changed, NewsFeed

PAGES = 20


@pytest.fixture(scope="module")
def asker(tmp_path_factory):
    with viewer_server.serving(tmp_path_factory.mktemp("viewed")) as asker:
        yield asker


@contextlib.contextmanager
def events(asker, path="/api/live", **headers):
    """Each event of a stream as (name, id, data)."""
    connection = http.client.HTTPConnection(asker.host, asker.port, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {asker.token}", **headers})
    answer = connection.getresponse()
    try:
        assert (answer.status, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert answer.headers["cache-control"] == "no-store, no-transform"
        assert answer.headers["x-accel-buffering"] == "no"
        yield _parsed(answer)
    finally:
        answer.close()
        connection.close()


def _parsed(answer):
    found = {}
    while line := answer.readline():
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            found[name] = value
        elif found:
            yield found["event"], found.get("id"), json.loads(found["data"])
            found = {}


@pytest.mark.timing
def test_a_new_run_and_its_records_are_news(tmp_path):
    with viewer_server.serving(tmp_path) as asker, events(asker, "/api/live?runs=p%2Flive") as stream:
        assert next(stream)[0] == "beat"
        begun = time.monotonic()
        with steno.init(project="p", name="live", dir=str(tmp_path)) as run:
            run.log({"x": 1.0})
            assert run.flush(60)
            name, id, data = next(stream)
            assert name == "news"
            assert data["list"]
            assert time.monotonic() - begun < 10
            seen = False
            for _ in range(20):
                run.log({"x": 2.0})
                assert run.flush(60)
                name, id, data = next(stream)
                told = data["runs"].get("p/live")
                if told is not None and told["keys"] is not None:
                    assert told["keys"] == ["x"]
                    assert told["step"] >= 1
                    seen = True
                    break
            assert seen
        known = asker.ask(f"/api/news?since={id}&runs=p%2Flive").json
        assert not known["reset"]


TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
NUMBER = st.integers(-5, 2**70).map(str) | st.sampled_from(["", "01", "+0", "0 ", "1_0", "0.0", "9" * 18, "9" * 30])
QUERY = st.lists(
    st.tuples(st.sampled_from(["runs", "since", "token", "run", ""]) | st.text(max_size=5), st.text(max_size=20)),
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_id_a_client_says_it_gets_what_it_missed_or_is_told_to_ask_again(asker, data):

    def now():
        return {newest, asker.ask("/api/news").json["id"]}  # the watching thread's first look is one more

    newest = asker.ask("/api/news").json["id"]
    name = newest.rpartition("-")[0]
    ids = (
        TEXT | NUMBER.map(lambda number: f"{name}-{number}") | st.just(newest) | NUMBER.map(lambda one: f"0{one}-{one}")
    )
    said, in_query = data.draw(st.none() | ids), data.draw(st.none() | ids | st.text(max_size=10))
    query = [one for one in data.draw(QUERY) if one[0] not in {"since", "token"}]
    if in_query is not None:
        query.insert(data.draw(st.integers(0, len(query))), ("since", in_query))
    path = f"/api/live?{urlencode(query, errors='surrogatepass')}"
    header = {} if said is None else {"Last-Event-ID": said.encode("latin-1")}
    known = (said or "").strip(" \t") or in_query
    with events(asker, path, **header) as stream:
        kind, id, body = next(stream)
        assert (kind, body) == ("beat", {})
        if known is None:
            assert id in now(), "a new client begins with what is newest"
        elif asker.ask(f"/api/news?since={quote(known, safe='', errors='surrogatepass')}").json["reset"]:
            assert id is None, "its own id stays until it is told what it missed"
            kind, id, body = next(stream)
            assert (kind, body) == ("reset", {})
            assert id in now()
        else:
            assert known.startswith(f"{name}-"), "an id of another server is unknown"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_news_since_an_id_are_all_that_came_after_it(data):
    """Against a list of all that was ever added: nothing is lost, and only what is no more kept is unknown."""
    feed, added = NewsFeed(), []
    ids = [feed.last]
    runs = st.dictionaries(st.sampled_from("abc"), st.frozensets(st.sampled_from("xyz")) | st.none(), max_size=3)
    for listed, changed in data.draw(st.lists(st.tuples(st.booleans(), runs), max_size=12)):
        for _ in range(data.draw(st.sampled_from([1, 1, 1, 300, 512]))):
            added.append((listed, changed))
            feed.add(listed, {run: Changed("running", keys) for run, keys in changed.items()})
            ids.append(feed.last)
    at = data.draw(st.integers(0, len(added)))
    watched = data.draw(st.frozensets(st.sampled_from("abcd")))
    last, found = feed.since(ids[at], watched)
    assert last == feed.last
    missed = added[at:]
    if len(missed) > 512:
        assert found is None
        return
    told = {}
    for _, changed in missed:
        for run in changed.keys() & watched:
            told[run] = (
                None
                if told.get(run, frozenset()) is None or changed[run] is None
                else told.get(run, frozenset()) | changed[run]
            )
    listed = any(one for one, _ in missed)
    if not listed and not told:
        assert found == {}
        return
    assert found["list"] == listed
    assert {run: one["keys"] for run, one in found["runs"].items()} == {
        run: keys if keys is None else sorted(keys) for run, keys in told.items()
    }


@pytest.mark.parametrize("asked", ["live", "news"])
def test_what_comes_while_news_are_put_together_is_in_the_next(monkeypatch, asked):
    """The id goes with what was told: with a later one the client would never hear what came in between."""
    streams = LiveStreams(None)
    monkeypatch.setattr(streams._watch, "wake", lambda: None)
    plain = streams.news.since

    def since(id, watched):
        found = plain(id, watched)
        monkeypatch.setattr(streams.news, "since", plain)
        streams.news.add(False, {"r": Changed("running", frozenset("b"))})  # by the thread that watches
        return found

    async def heard():
        begin = streams.news.last
        streams.news.add(False, {"r": Changed("running", frozenset("a"))})
        monkeypatch.setattr(streams.news, "since", since)
        if asked == "live":
            found = streams._events(frozenset("r"), begin)
            told = [(await anext(found)).decode() for _ in range(3)][1:]
            await found.aclose()
            return [json.loads(one.partition("data: ")[2]) for one in told]
        one, told = begin, []
        for _ in range(2):
            request = SimpleNamespace(query_params=Query([("since", one), ("runs", "r")]))
            told.append(json.loads((await streams.ask(request)).body))
            one = told[-1]["id"]
        return told

    assert [one["runs"]["r"]["keys"] for one in asyncio.run(heard())] == [["a"], ["b"]]


class Query(dict):
    """As much of a request's query as is asked for."""

    def getlist(self, name):
        return [self[name]]


def spoken(terminal, words):
    """What a program writes to a terminal, until it holds the words or the program is gone."""
    found = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while words is None or words not in found:
            one = os.read(terminal, 4096)
            if not one:
                break
            found += one
    return found


def in_terminal(*command):
    """(a process whose controlling terminal it is, our end of that terminal)."""
    ours, its = os.openpty()
    process = subprocess.Popen(["setsid", "--ctty", *command], stdin=its, stdout=its, stderr=its)
    os.close(its)
    return process, ours


def end(process, terminal, how):
    """Seconds until it is gone, and what it said."""
    begun = time.monotonic()
    if how == "Ctrl-C":
        os.write(terminal, b"\x03")
    elif how == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:
        os.close(terminal)
    process.wait(60)
    took = time.monotonic() - begun
    if how == "closed terminal":
        return took, b""
    said = spoken(terminal, None)
    os.close(terminal)
    return took, said


@pytest.mark.timing
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "closed terminal"])
def test_it_ends_at_once_while_pages_are_open(tmp_path, how):
    """uvicorn alone waits for the streams for ever."""
    command = (sys.executable, "-m", "steno", "view", str(tmp_path), "--no-browser")
    idle, watched = in_terminal(*command), in_terminal(*command)
    spoken(idle[1], b"ends it")
    url = next(one for one in spoken(watched[1], b"ends it").decode().split() if one.startswith("http"))
    asker = viewer_server.Asker(SimpleNamespace(address=url.partition("?")[0], url=url))
    with contextlib.ExitStack() as pages:
        streams = [pages.enter_context(events(asker)) for _ in range(PAGES)]
        for stream in streams:
            assert next(stream)[0] == "beat"
        readers = [threading.Thread(target=list, args=(stream,)) for stream in streams]
        for reader in readers:
            reader.start()
        least, _ = end(*idle, how)
        took, said = end(*watched, how)
        for reader in readers:
            reader.join(60)
            assert not reader.is_alive()
    assert (idle[0].returncode, watched[0].returncode) == (0, 0)
    assert b"Traceback" not in said
    # How long one without a page takes says how busy the machine is; alone on a machine it is a fifth of a second.
    assert least < 2
    assert took < max(0.5, 2 * least), (took, least)
