"""Settings: one schema, looked up by name, in the environment, by default; each mistake is one clear error."""

from __future__ import annotations

import copy
import json
import os
import pickle
from pathlib import Path

import pytest
from run_programs import ok, wait_for

import steno
from steno import face
from steno import settings as schema
from steno.capture.open_runs import RUNS
from steno.errors import UsageError


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in schema.meanings():
        monkeypatch.delenv(name, raising=False)
    yield
    if steno.current() is not None:
        steno.finish(0)
    # As in a fresh process.
    RUNS.last = None
    face._log = face._first_log


def lingers(pid: int) -> str:
    """What the collector's command line says after `--linger`."""
    words = wait_for(lambda: Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")[4:])
    return words[words.index("--linger") + 1]


def test_what_is_given_comes_before_the_environment_and_that_before_the_default(monkeypatch):
    assert steno.Settings().linger == 60.0
    monkeypatch.setenv("STENO_LINGER", "5")
    monkeypatch.setenv("STENO_COLLECTOR", "no")
    assert (steno.Settings().linger, steno.Settings().collector) == (5.0, False)
    assert (steno.Settings(linger=7).linger, steno.Settings(collector=True).collector) == (7.0, True)
    assert steno.Settings(linger=None).linger == 5.0
    monkeypatch.setenv("STENO_LINGER", "")
    assert steno.Settings().linger == 60.0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"lingr": 3}, "did you mean 'linger'?"),
        ({"linger_secs": 3}, "did you mean 'linger'?"),
        ({"asynk_wrkers": 3}, "did you mean 'async_workers'?"),
        ({"quux": "me"}, "there are artifacts, async_full"),
        ({"linger": "60"}, "linger='60': a number of seconds from 0 on is needed"),
        ({"linger": float("nan")}, "linger=nan"),
        ({"linger": True}, "linger=True"),
        ({"collector": "maybe"}, "collector='maybe': on or off is needed"),
        ({"collector": 2}, "collector=2"),
        ({"journal_dir": 3}, "a path is needed"),
        ({"segment_bytes": 10}, "segment_bytes=10: a whole number from 65536"),
        ({"device_full": "last"}, "'oldest', 'newest' or 'wait'"),
        ({"async_workers": 0}, "async_workers=0: a whole number from 1 on"),
        ({"async_queue": 2.5}, "async_queue=2.5"),
        ({"async_full": ["raise"]}, "'raise', 'wait' or 'drop'"),
        ({"rank": -1}, "rank=-1: a whole number from 0 on"),
        ({"artifacts": 1}, "a URL is needed"),
    ],
)
def test_a_wrong_name_or_value_is_one_error_wherever_it_is_given(given, words):
    for call in (
        lambda: steno.Settings(**given),
        lambda: steno.init(settings=given),
        lambda: steno.init(**given),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert words in str(caught.value) or "there are " in words
        assert "'" in str(caught.value) or "=" in str(caught.value)
    assert steno.current() is None


def test_a_value_whose_repr_raises_is_refused_like_any_other():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    with pytest.raises(UsageError, match="linger=a Odd"):
        steno.Settings(linger=Odd())


@pytest.mark.parametrize(
    ("name", "text"),
    [("STENO_LINGER", "soon"), ("STENO_COLLECTOR", "maybe"), ("STENO_ASYNC_WORKERS", "four"), ("STENO_RANK", "1.0")],
)
def test_a_wrong_variable_is_an_error_that_names_it(name, text, monkeypatch):
    monkeypatch.setenv(name, text)
    for call in (steno.Settings, steno.init, lambda: steno.SummaryWriter("logs")):
        with pytest.raises(UsageError, match=f"{name}='{text}'"):
            call()


def test_an_argument_that_init_does_not_know_is_an_error_with_the_nearest():
    with pytest.raises(UsageError, match=r"steno.init has no 'projekt': did you mean 'project'\?"):
        steno.init(projekt="x")
    with pytest.raises(UsageError, match=r"steno.init has no 'colector': did you mean 'collector'\?"):
        steno.init(colector=False)
    with pytest.raises(UsageError, match=r"steno.Settings\(linger=10\)"):
        steno.init(settings=5)


def test_settings_may_be_given_by_name_and_as_a_mapping(monkeypatch):
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    base = steno.Settings(async_workers=9)
    run = steno.init(settings=base, async_queue=7, rank=2)
    given = run._started.settings
    assert (given.async_workers, given.async_queue, given.rank, run.rank) == (9, 7, 2, 2)
    assert base.async_queue == 10_000
    run.finish()
    assert steno.init(settings={"async_workers": 3})._started.settings.async_workers == 3


def test_settings_do_not_change_and_can_be_copied():
    made = steno.Settings(linger=3, journal_dir="journals")
    assert made.journal_dir == Path.cwd() / "journals"
    with pytest.raises(AttributeError):
        made.linger = 4
    assert pickle.loads(pickle.dumps(made)) == copy.deepcopy(made) == made


def test_linger_reaches_the_collector(monkeypatch):
    run = steno.init(settings=steno.Settings(linger=3))
    assert lingers(run._started.watchdog.pid) == "3.0"
    run.finish()
    monkeypatch.setenv("STENO_LINGER", "4")
    writer = steno.SummaryWriter("logs")
    writer.add_scalar("a", 1.0, 0)
    watchdog = writer._place.held().run._started.watchdog
    assert lingers(wait_for(lambda: watchdog.pid)) == "4.0"
    writer.close()


def test_journals_and_segments_follow_the_settings(tmp_path):
    place = tmp_path / "journals"
    run = steno.init(settings=steno.Settings(collector=False, journal_dir=place, segment_bytes=1 << 17))
    wait_for(lambda: len(list(place.glob("steno-*/*.seg"))) > 1)
    assert {path.stat().st_size for path in place.glob("steno-*/*.seg")} == {1 << 17}
    run.finish()


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_children_that_join_have_their_parents_settings(method, tmp_path):
    out = ok(
        f"""
        import multiprocessing, steno

        def work():
            steno.log({{"child": 1.0}})
            print(steno.current()._started.settings == steno.Settings(
                journal_dir="journals", device_full="newest", rank=3, world_size=5, collector=False))

        if __name__ == "__main__":
            run = steno.init(name="a", settings=steno.Settings(
                journal_dir="journals", device_full="newest", rank=3, world_size=5))
            child = multiprocessing.get_context({method!r}).Process(target=work)
            child.start()
            child.join()
        """,
        tmp_path,
    )
    assert out.strip() == "True"
    assert len(list((tmp_path / "journals").glob("steno-*"))) == 2


def test_what_children_are_told_is_not_read_by_other_programs(monkeypatch):
    run = steno.init(settings=steno.Settings(collector=False, journal_dir="journals"))
    assert "STENO_JOURNAL_DIR" not in os.environ
    assert json.loads(os.environ["STENO_RUN_AS"])["settings"]["collector"] is False
    run.finish()
    assert "STENO_RUN_AS" not in os.environ
