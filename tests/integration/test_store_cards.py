"""Lists of a store's runs by their cards: how much is asked of the store, and that they say what the runs say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time

import pytest

import object_stores
import steno
from object_stores import Gate, eventually
from steno.errors import StenoError
from steno.ledger import store_card
from steno.objects.store import ObjectStore
from steno.store import afar

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def server():
    with object_stores.moto_server() as port:
        yield port


@pytest.fixture
def gate(server, monkeypatch, tmp_path):
    found = Gate(server)
    for name, value in object_stores.environment(found.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(afar, "_shared", {})
    yield found
    found.close()


@pytest.fixture
def url(server, gate):
    name = f"b-{os.urandom(8).hex()}"
    object_stores.client(server).create_bucket(Bucket=name)
    return f"s3://{name}/runs"


def record(tmp_path, url, name, project="p", **options):
    with steno.init(project=project, name=name, dir=str(tmp_path / "runs"), store=url, **options) as run:
        for step in range(10):
            run.log({"loss": 1 / (step + 1), "odd": math.nan}, step=step)
        assert run.finish(90)
    return run.id


def command_line(*words):
    """The command as a user has it: a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "steno", *words],
        env={**os.environ, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def lists(gate):
    return [one for one in gate.sent("GET") if "list-type" in one[1]]


def fetched(gate, of):
    return [one for one in gate.sent("GET", of) if "list-type" not in one[1]]


def anew(monkeypatch):
    """As another process."""
    monkeypatch.setattr(afar, "_shared", {})


def test_a_list_asks_once_for_all_runs_and_fetches_the_cards_that_are_new(url, gate, server, tmp_path, monkeypatch):
    run_id = record(tmp_path, url, "real", config={"lr": 0.5}, tags=["a"])
    store, client = ObjectStore(url), object_stores.client(server)
    (key,) = [key for key in store.listing("_cards") if run_id in key]
    card = json.loads(store.read(key))
    card.pop("crc")
    for number in range(20):
        other = f"{number:026d}"
        mine = {**card, "path": f"p/r{number}", "run": {"id": other, "project": "p", "name": f"r{number}"}}
        name = key.replace(run_id, other)
        client.put_object(Bucket=url.split("/")[2], Key=f"runs/{name}", Body=store_card.encode(mine))
    gate.seen.clear()
    runs = steno.runs(url)
    assert len(runs) == 21
    assert len(lists(gate)) == 1  # for each thousand
    assert len(fetched(gate, "_cards/")) == 21
    assert len(fetched(gate, "/runs/p/")) == 0
    real = next(one for one in runs if one.name == "real")
    assert (real.state, real.records, real.points, real.config, real.tags) == ("finished", 10, 20, {"lr": 0.5}, ("a",))
    with steno.open(f"{url}/p/real") as reader:
        for name, row in reader.summary.items():
            assert repr({part: real.metrics[name][part] for part in row}) == repr(row)
    # Another process has all of it; what is new alone comes.
    anew(monkeypatch)
    record(tmp_path, url, "second")
    gate.seen.clear()
    assert [one.name for one in steno.runs(url, where="loss.max == 1", sort="-started")][:1] == ["second"]
    assert (len(lists(gate)), len(fetched(gate, "_cards/"))) == (1, 1)
    # Somebody without a copy takes those that were rolled up, and what came later.
    assert command_line("publish", url, "--cards").stdout.startswith("2 runs have cards; 0 are new, 20 are taken out\n")
    third = record(tmp_path, url, "third")
    monkeypatch.setenv("STENO_CACHE_DIR", str(tmp_path / "other"))
    monkeypatch.setattr("steno.store.card_list._FEW", 1)
    anew(monkeypatch)
    gate.seen.clear()
    assert [one.name for one in steno.runs(f"{url}/p")] == ["third", "second", "real"]  # of one project, too
    assert sorted(path.rpartition("/")[2].partition(".")[0] for _, path, _ in fetched(gate, "_cards/")) == sorted(
        ["_rolled", third]
    )


def test_cards_that_are_lost_or_damaged_are_made_again_by_publish(url, gate, server, tmp_path, monkeypatch):
    first, second = record(tmp_path, url, "first", config={"lr": 1}), record(tmp_path, url, "second")
    store = ObjectStore(url)
    with steno.open(f"{url}/p/first") as reader:
        reader.edit(add_tags=["good"], name="renamed")
    before = {one.id: one for one in steno.runs(url)}
    assert (before[first].name, before[first].tags) == ("renamed", ("good",))
    cards = list(store.listing("_cards"))
    assert len(cards) == 4
    for key in cards:
        if first in key:
            store.remove(key)
        else:
            store.write(key, b"{}" + store.read(key))
    broken = next(one for one in steno.runs(url) if one.problem)
    assert (broken.project, broken.name) == ("p", second)
    assert "steno publish" in broken.problem
    with pytest.raises(StenoError, match="cannot be read"):
        steno.bins("loss", [broken])
    found = command_line("publish", url, "--cards", "--json")
    assert json.loads(found.stdout)["made"] == 4
    assert sorted(store.listing("_cards")) == sorted([*cards, "_cards/p/_rolled"])
    anew(monkeypatch)
    after = {one.id: one for one in steno.runs(url)}
    assert after == before
    assert after[first].metrics["loss"]["count"] == 10  # of the run itself, since its card has no rows any more
    assert json.loads(command_line("publish", url, "--cards", "--json").stdout)["made"] == 0
    # A run that is gone leaves with its cards, and one that cannot be read stays.
    for key in store.listing("p/first"):
        store.remove(f"{key}")
    assert json.loads(command_line("publish", url, "--cards", "--json").stdout)["removed"] == 3
    store.write("p/second/run.json", b"[")
    found = command_line("publish", url, "--cards")
    assert (found.returncode, len(steno.runs(url))) == (1, 1)
    assert "p/second is left out" in found.stderr


def test_a_run_that_goes_on_is_in_the_list_and_a_node_without_news_has_crashed(url, tmp_path, monkeypatch):
    run = steno.init("p", "live", dir=tmp_path / "runs", store=url)
    try:
        run.log({"loss": 1.0}, step=0)
        eventually(lambda: [one.state for one in steno.runs(url)] == ["running"], poll=0.2)
        now = time.time()
        with monkeypatch.context() as later:
            later.setattr(time, "time", lambda: now + 600)
            assert steno.runs(url)[0].state == "running"
            later.setattr(time, "time", lambda: now + 3 * 3600)
            assert steno.runs(url)[0].state == "crashed"
    finally:
        assert run.finish(timeout=60)
    assert [(one.state, one.points) for one in steno.runs(url)] == [("finished", 1)]


def test_a_store_that_is_down_shows_what_was_known_and_says_how_old_it_is(url, gate, tmp_path, monkeypatch):
    record(tmp_path, url, "known")
    assert steno.runs(url).problem == ""
    gate.close()
    anew(monkeypatch)
    runs = steno.runs(url)
    assert [one.name for one in runs] == ["known"]
    assert "these are the runs of" in runs.problem
    assert runs[0].metrics["loss"]["max"] == 1.0
    found = command_line("runs", url)
    assert found.returncode == 0
    assert "p/known" in found.stdout
    assert "these are the runs of" in found.stderr
    gate.open()
    assert steno.runs(url).problem == ""


def test_a_store_whose_runs_have_no_cards_is_looked_at_run_by_run(url, gate, server, tmp_path, monkeypatch):
    record(tmp_path, url, "one")
    store = ObjectStore(url)
    for key in store.listing("_cards"):
        store.remove(key)
    assert [one.name for one in steno.runs(url)] == ["one"]
    with steno.open(f"{url}/p/one") as reader:
        reader.edit(name="other")  # its copy beside cards that are not there hides nothing
    anew(monkeypatch)
    assert [one.name for one in steno.runs(url)] == ["other"]


def test_a_node_that_may_not_write_cards_brings_its_run_nevertheless(url, gate, tmp_path):
    gate.forbidden = "/_cards/"
    record(tmp_path, url, "narrow")
    gate.forbidden = ""
    assert steno.open(f"{url}/p/narrow").info.state == "finished"
    assert not ObjectStore(url).listing("_cards")


def test_verify_says_what_of_a_store_is_missing_or_damaged(url, tmp_path):
    (tmp_path / "model").write_bytes(b"weights" * 100)
    for name in ("good", "cut", "flipped", "gone"):
        with steno.init(project="p", name=name, dir=str(tmp_path / "runs"), store=url) as run:
            for step in range(10):
                run.log({"loss": float(step)}, step=step)
            if name == "gone":
                run.log_artifact(str(tmp_path / "model"), "model")
            assert run.finish(90)
    done = command_line("verify", url)
    assert (done.returncode, done.stdout.split(" (")[0].partition(", ")[2].endswith("all is there")) == (0, True)
    store = ObjectStore(url)

    def part(name):
        return next(key for key in store.listing(f"p/{name}/metrics") if key.endswith(".parquet"))

    data = bytearray(store.read(part("flipped")))
    data[20] ^= 1  # in a page
    store.write(part("flipped"), bytes(data))
    store.write(part("cut"), store.read(part("cut"))[:-10])
    store.remove(part("gone"))
    artifact = next(key for key in store.listing("p/gone/artifacts"))
    store.write(artifact, b"other")

    def damaged(*words):
        found = command_line("verify", *words, "--json")
        told = {one["place"].rpartition("/")[2]: list(one["problems"]) for one in json.loads(found.stdout)}
        assert found.returncode == (1 if any(told.values()) else 0)
        return told

    def name(run):
        return part(run).removeprefix(f"p/{run}/")

    gone = damaged(url)["gone"]
    assert damaged(url) == {"good": [], "cut": [name("cut")], "flipped": [], "gone": gone}
    assert len(gone) == 1
    every = damaged(url, "--whole")
    assert every == {"good": [], "cut": [name("cut")], "flipped": [name("flipped")], "gone": every["gone"]}
    assert sorted(every["gone"]) == sorted([*gone, artifact.removeprefix("p/gone/")])
    assert damaged(f"{url}/p/good", "--whole") == {"good": []}
    assert not any(damaged(str(tmp_path / "runs"), "--whole").values())
    nothing = command_line("verify", f"{url}/none")
    assert (nothing.returncode, "there is no run" in nothing.stderr) == (2, True)
