"""Callbacks and logger destinations on a plain loop: every call once, in order, and nothing of theirs in training."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import run_programs
from run_programs import wait_for

import steno
from steno import Callback, Event, LoggerDestination, LogLevel
from steno.capture.inprocess import feed as feeds
from steno.capture.inprocess import listener
from steno.capture.snapshot import HOLE
from steno.errors import DestinationError
from steno.journal import format as fmt

pytestmark = pytest.mark.usefixtures("alone")


class Keeping(LoggerDestination):
    """Keeps what it is told."""

    def __init__(self):
        self.calls = []
        self.threads = set()

    def log_data(self, state, log_level, data):
        self.threads.add(threading.current_thread().name)
        self.calls.append(("data", int(state.timer.batch), log_level, data))

    def run_event(self, event, state, logger):
        self.calls.append(("event", int(state.timestamp.batch), event))
        super().run_event(event, state, logger)

    def close(self, state, logger):
        self.calls.append(("close", int(state.timestamp.batch)))

    def post_close(self):
        self.calls.append(("post_close",))

    def data(self):
        return [call[3] for call in self.calls if call[0] == "data"]


def feed(run, name="Keeping"):
    return run.health()["feeds"][name]


def test_everything_comes_once_in_the_order_of_the_calls():
    kept = Keeping()
    with steno.init(destinations=[kept]) as run:
        run.event(Event.FIT_START)
        for batch in range(1, 4):
            run.log({"loss": 1 / batch}, level=LogLevel.BATCH)
            run.event(Event.BATCH_END, batch=batch, epoch=0)
        run.log({"accuracy": 0.5}, level="epoch")
        run.event(Event.EPOCH_END)
    assert kept.calls == [
        ("event", 0, Event.INIT),
        ("event", 0, Event.FIT_START),
        ("data", 0, LogLevel.BATCH, {"loss": 1.0}),
        ("event", 1, Event.BATCH_END),
        ("data", 1, LogLevel.BATCH, {"loss": 1 / 2}),
        ("event", 2, Event.BATCH_END),
        ("data", 2, LogLevel.BATCH, {"loss": 1 / 3}),
        ("event", 3, Event.BATCH_END),
        ("data", 3, LogLevel.EPOCH, {"accuracy": 0.5}),
        ("event", 3, Event.EPOCH_END),
        ("close", 3),
        ("post_close",),
    ]
    assert all(isinstance(call[2], LogLevel) for call in kept.calls if call[0] == "data")
    assert kept.threads == {"steno-deliver-Keeping"}
    assert feed(run)["errors"] == 0
    assert feed(run)["count"] == 1 + 9  # the start of the run, and what came after it


def test_data_is_as_it_was_logged_and_when_it_was_logged():
    kept, weights, nested = Keeping(), np.arange(40.0).reshape(4, 10), {"lr": 0.1, "sizes": [1, 2, 3]}
    said = {
        "loss": 0.5, "step": 7, "best": True, "phase": "warm-up", "big": 2**80, "nan": float("nan"),
        "optimizer": nested, "weights": weights, "one": np.float32(0.25), "losses": [0.5, 0.25],
    }  # fmt: skip
    with steno.init(destinations=[kept]) as run:
        run.log(said)
        said["loss"] = nested["lr"] = 99.0
        said["losses"].append(99.0)
        nested["sizes"][0] = 99
        weights[:] = 99.0
        run.log({"loss": 1.0, "step": 8})
        run.log({"only": 3})
    first, second, third = kept.data()
    assert list(first) == [
        "loss", "step", "best", "phase", "big", "nan", "optimizer/lr", "optimizer/sizes", "weights", "one", "losses",
    ]  # fmt: skip
    assert np.isnan(first.pop("nan"))
    assert np.array_equal(first.pop("weights"), np.arange(40.0).reshape(4, 10))
    assert first == {
        "loss": 0.5, "step": 7, "best": True, "phase": "warm-up", "big": 2**80,
        "optimizer/lr": 0.1, "optimizer/sizes": [1, 2, 3], "one": 0.25, "losses": [0.5, 0.25],
    }  # fmt: skip
    assert first["best"] is True
    assert type(first["step"]) is int
    assert (second, third) == ({"loss": 1.0, "step": 8}, {"only": 3})
    assert type(third["only"]) is int


def test_a_data_of_many_likes_keeps_its_types():
    kept = Keeping()
    with steno.init(destinations=[kept]) as run:
        for step in range(500):
            run.log({"x": float(step), "n": step, "odd": step % 2 == 1})
        for step in range(500):
            run.log({"x": float(step), "y": -float(step)})
    assert kept.data() == [
        *({"x": float(step), "n": step, "odd": step % 2 == 1} for step in range(500)),
        *({"x": float(step), "y": -float(step)} for step in range(500)),
    ]
    assert {type(data.get("n", 0)) for data in kept.data()} == {int}


def test_what_a_destination_changes_in_its_data_is_its_own():
    class Spoiling(Keeping):
        def log_data(self, state, log_level, data):
            super().log_data(state, log_level, dict(data))
            data.clear()

    spoiling, kept = Spoiling(), Keeping()
    with steno.init(destinations=[spoiling, kept]) as run:
        run.log({"x": 1, "y": [1, 2]})
    assert spoiling.data() == kept.data() == [{"x": 1, "y": [1, 2]}]


def test_levels_that_are_none_are_said_once_and_the_record_is_kept(capsys):
    kept = Keeping()
    with steno.init(destinations=[kept]) as run:
        for level in (7, "x", 1.5, None, 1, "Fit", LogLevel.EPOCH):
            run.log({"x": 1.0}, level=level)
    assert [call[2] for call in kept.calls if call[0] == "data"] == [3, 3, 3, 3, 1, 1, 2]
    assert capsys.readouterr().err.count("is no level") == 1


def test_a_state_is_that_of_the_call_however_late_it_is_handed_over():
    held = threading.Event()

    class Late(Keeping):
        def init(self, state, logger):
            held.wait(30)

    late = Late()
    run = steno.init(destinations=[late])
    for batch in range(1, 51):
        run.log({"batch": batch})
        run.event(Event.BATCH_END, batch=batch, epoch=batch // 10)
    held.set()
    run.finish()
    assert [(call[1], call[3]["batch"]) for call in late.calls if call[0] == "data"] == [
        (batch - 1, batch) for batch in range(1, 51)
    ]
    assert [call[1] for call in late.calls if call[0] == "event" and call[2] == "batch_end"] == [*range(1, 51)]


ERRORS = [ValueError("v"), KeyboardInterrupt(), SystemExit(3), GeneratorExit(), type("Own", (BaseException,), {})()]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_one_that_raises_in_every_method_is_counted_said_once_and_called_on(error, capfd):
    calls = []

    class Raising(LoggerDestination):
        def log_data(self, state, log_level, data):
            calls.append("log_data")
            raise error

        def batch_end(self, state, logger):
            calls.append("batch_end")
            raise error

        def init(self, state, logger):
            calls.append("init")
            raise error

        def close(self, state, logger):
            calls.append("close")
            raise error

        def post_close(self):
            calls.append("post_close")

    kept = Keeping()
    with steno.init(destinations=[Raising(), kept]) as run:
        for _ in range(3):
            run.log({"x": 1.0})
            run.event(Event.BATCH_END)
    assert calls == ["init", *["log_data", "batch_end"] * 3, "close"]  # nothing again, no post_close after close raised
    assert len(kept.data()) == 3
    health = feed(run, "Raising")
    assert (health["errors"], health["retries"], health["skipped"]) == (8, 0, 0)
    assert type(error).__name__ in health["error"]
    said = capfd.readouterr().err
    assert said.count("steno: destination Raising") == 1
    assert "init raised" in said
    assert "test_listener.py:" in said
    assert "Traceback" not in said


def test_an_error_that_cannot_even_be_shown_is_counted(capfd):
    class Evil(Exception):
        def __repr__(self):
            raise RuntimeError

    class Raising(LoggerDestination):
        def log_data(self, state, log_level, data):
            raise Evil

    with steno.init(destinations=[Raising()]) as run:
        run.log({"x": 1.0})
        run.log({"x": 1.0})
    assert feed(run, "Raising")["errors"] == 2
    assert "log_data raised Evil" in capfd.readouterr().err


def test_one_that_does_nothing_of_its_own_costs_nothing():
    with steno.init(destinations=[LoggerDestination(), Callback()]) as run:
        run.log({"x": 1.0})
        run.event(Event.BATCH_END)
        run.event("a name of ours", x=1)
    for name in ("LoggerDestination", "Callback"):
        assert feed(run, name)["errors"] == 0


def test_events_and_data_of_many_threads_are_complete_and_each_threads_in_order():
    kept = Keeping()

    def work(number):
        for step in range(200):
            run.log({"thread": number, "step": step})
            run.event(Event.BATCH_END, samples=1)

    with steno.init(destinations=[kept]) as run:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for number in range(4):
        assert [data["step"] for data in kept.data() if data["thread"] == number] == [*range(200)]
    batches = [call[1] for call in kept.calls if call[0] == "event" and call[2] == "batch_end"]
    assert batches == [*range(1, 801)]


def test_a_callback_logs_by_composers_names():
    class Speaking(Callback):
        def init(self, state, logger):
            self.logger = logger
            logger.log_hyperparameters({"lr": 0.1})

        def batch_end(self, state, logger):
            logger.data_batch({"speed": 2.5})
            logger.data("fit", {"once": 1})

        def epoch_end(self, state, logger):
            self.logger.data_epoch({"name": logger.run_name, "of": len(logger.destinations)})
            self.logger.log_metrics({"m": 1.0}, step=77)
            logger.data(9, {"never": 1})

        def close(self, state, logger):
            logger.data_fit({"last": int(state.timestamp.epoch)})

    kept = Keeping()
    with steno.init(destinations=[kept, Speaking()]) as run:
        run.event(Event.BATCH_END, batch=5)
        run.event(Event.EPOCH_END, epoch=3)
    assert [(level, data) for kind, _, level, data in (c for c in kept.calls if c[0] == "data")] == [
        (3, {"speed": 2.5}),
        (1, {"once": 1}),
        (2, {"name": run.name, "of": 2}),
        (3, {"m": 1.0}),
        (1, {"last": 3}),
    ]
    assert [call[0] for call in kept.calls[-2:]] == ["close", "post_close"]
    assert run.config["lr"] == 0.1
    (journal,) = run_programs.journals(run.dir)
    assert journal.steps == [5, 5, 5, 77, 5]
    assert feed(run, "Speaking")["errors"] == 1  # the level 9


def test_two_of_one_class_are_two():
    one, two = Keeping(), Keeping()
    with steno.init(destinations=[one, two]) as run:
        run.log({"x": 1.0})
        assert set(run.health()["feeds"]) == {"Keeping", "Keeping-2"}
    assert one.data() == two.data() == [{"x": 1.0}]


def test_one_that_is_passed_twice_is_told_once(capsys):
    kept = Keeping()
    with steno.init(destinations=[kept, kept]) as run:
        run.log({"x": 1.0})
        assert set(run.health()["feeds"]) == {"Keeping"}
    assert kept.data() == [{"x": 1.0}]
    assert "passed twice" in capsys.readouterr().err


def test_one_that_is_too_far_behind_skips_the_oldest_and_counts_them(monkeypatch):
    held = threading.Event()
    monkeypatch.setenv("STENO_SEGMENT_BYTES", str(1 << 20))
    monkeypatch.setattr(feeds, "BOUND_BYTES", 2 << 20)

    class Late(Keeping):
        def init(self, state, logger):
            held.wait(60)

    late = Late()
    run = steno.init(destinations=[late])
    for step in range(30_000):
        run.log({f"key{index}": float(step) for index in range(12)})
    run.event(Event.BATCH_END, batch=7)
    held.set()
    run.finish()
    steps = [int(data["key0"]) for data in late.data()]
    health = feed(run, "Late")
    assert 0 < steps[0] < 30_000
    assert steps == [*range(steps[0], 30_000)]
    assert steps[0] <= health["skipped"] <= steps[0] + 100  # numbers that a full segment burnt are counted too
    assert ("event", 7, Event.BATCH_END) in late.calls


def test_composers_own_callbacks_are_taken_by_their_methods():
    class Foreign:
        """As Composer's are built, without steno."""

        def __init__(self):
            self.seen = []

        def run_event(self, event, state, logger):
            self.seen.append(event.value)

        def log_data(self, state, log_level, data):
            self.seen.append(data)

        def close(self, state, logger):
            self.seen.append("close")

        def post_close(self):
            self.seen.append("post_close")

    foreign = Foreign()
    with steno.init(destinations=[foreign]) as run:
        run.log({"x": 1})
        run.event("eval_start")
    assert foreign.seen == ["init", {"x": 1}, "eval_start", "close", "post_close"]


def test_what_is_neither_is_still_refused():
    with pytest.raises(DestinationError, match=r"steno\.LoggerDestination"):
        steno.init(destinations=[object()])
    with pytest.raises(DestinationError, match="pass an object, not the class"):
        steno.init(destinations=[Keeping])


def test_values_that_a_device_still_has_come_late_with_their_level_and_state():
    torch = pytest.importorskip("torch")
    kept = Keeping()
    with steno.init(destinations=[kept]) as run:
        run.event(Event.BATCH_END, batch=3)
        run.log({"loss": torch.tensor(0.5), "n": torch.tensor(3), "host": 1}, level="epoch")
        run.event(Event.BATCH_END, batch=4)
    (call,) = [call for call in kept.calls if call[0] == "data"]
    assert call == ("data", 3, LogLevel.EPOCH, {"loss": 0.5, "n": 3, "host": 1})


class Owing:
    """Journals as a device's values are: a hole now, its value behind what was logged meanwhile."""

    def __init__(self, run):
        self.appender = run._started.recorder.appender

    def log(self, values, level):
        mono, seq = self.appender.stamp()
        self.appender.append([fmt.RICH, mono, seq, values, None, {"level": level}])
        return seq

    def bring(self, seq, values):
        self.appender.append((fmt.FILL, seq, values))


def test_a_call_waits_for_its_device_values_and_those_behind_it_with_it():
    kept = Keeping()
    run = steno.init(destinations=[kept])
    device = Owing(run)
    run.event(Event.BATCH_END, batch=3)
    first = device.log({"loss": HOLE, "host": 1, "many": [HOLE, 2, HOLE], "nested": {"x": HOLE}}, 2)
    alone = device.log({"norm": HOLE}, 1)
    run.event(Event.BATCH_END, batch=4)
    run.log({"x": 1})
    device.bring(first, {"loss": 7, "many/2": 3})
    device.bring(alone, {"norm": 0.5})
    device.bring(first, {"many/0": 1, "nested/x": [1, 2]})
    wait_for(lambda: kept.data() and kept.data()[-1] == {"x": 1})
    run.finish()
    assert [call for call in kept.calls if call[0] == "data" or call[-1] == "batch_end"] == [
        ("event", 3, Event.BATCH_END),
        ("data", 3, LogLevel.EPOCH, {"loss": 7, "host": 1, "many": [1, 2, 3], "nested/x": [1, 2]}),
        ("data", 3, LogLevel.FIT, {"norm": 0.5}),
        ("event", 4, Event.BATCH_END),
        ("data", 4, LogLevel.BATCH, {"x": 1}),
    ]


def test_a_device_value_that_does_not_come_is_waited_for_a_while(monkeypatch):
    monkeypatch.setattr(listener, "PATIENCE_SECS", 0.1)
    kept = Keeping()
    run = steno.init(destinations=[kept])
    device = Owing(run)
    run.event(Event.BATCH_END, batch=3)
    late = device.log({"loss": HOLE, "host": 1, "many": [HOLE, 2]}, 2)
    never = device.log({"norm": HOLE}, 1)
    run.log({"x": 1})
    wait_for(lambda: len(kept.data()) == 2)
    run.event(Event.BATCH_END, batch=4)
    device.bring(late, {"loss": 7, "many/0": 1})
    wait_for(lambda: len(kept.data()) == 3)
    device.log({"last": HOLE, "host": 2}, 3)
    run.finish()
    assert never
    assert [call for call in kept.calls if call[0] == "data"] == [
        ("data", 3, LogLevel.EPOCH, {"host": 1, "many": [None, 2]}),
        ("data", 3, LogLevel.BATCH, {"x": 1}),
        ("data", 3, LogLevel.EPOCH, {"loss": 7, "many/0": 1}),
        ("data", 4, LogLevel.BATCH, {"host": 2}),
    ]


def test_results_of_tasks_come_when_they_are_there():
    kept = Keeping()
    with steno.init(destinations=[kept]) as run:
        future = run.async_log(lambda: {"score": 3}, step=5, step_at="submit")
        run.log({"x": 1.0})
        future.result(20)
    assert sorted(kept.data(), key=str) == [{"score": 3}, {"x": 1.0}]


def test_media_are_values_that_can_be_looked_at():
    kept = Keeping()
    picture = np.arange(64 * 80 * 3, dtype=np.uint8).reshape(64, 80, 3)
    with steno.init(destinations=[kept]) as run:
        run.log({"image": steno.Image(picture, caption="a ramp"), "text": steno.Text("hello"), "n": 1})
        run.log({"many": [steno.Image(picture[:8, :8]), steno.Image(picture)]})
        picture[:] = 0
    first, second = kept.data()
    assert first["n"] == 1
    assert (first["image"].kind, first["image"].caption) == ("image", "a ramp")
    assert np.array_equal(first["image"].value, np.arange(64 * 80 * 3, dtype=np.uint8).reshape(64, 80, 3))
    assert first["text"].value == "hello"
    assert [one.value.shape for one in second["many"]] == [(8, 8, 3), (64, 80, 3)]


def test_events_cost_the_loop_the_same_with_nobody_listening():
    with steno.init() as run:
        assert run.health()["feeds"] == {}
        before = threading.active_count()
        for _ in range(100):
            run.event(Event.BATCH_END, batch=1)
        assert threading.active_count() == before


@pytest.mark.timing
def test_one_that_hangs_holds_up_neither_the_loop_nor_the_others():
    hold = threading.Event()

    class Hanging(LoggerDestination):
        def log_data(self, state, log_level, data):
            hold.wait(60)

    kept = Keeping()
    run = steno.init(destinations=[Hanging(), kept])
    for _ in range(20):
        run.log({"x": 1.0})
    wait_for(lambda: len(kept.data()) == 20)
    began = time.monotonic()
    assert not run.finish()
    took = time.monotonic() - began
    hold.set()
    assert took < 3.5
    assert kept.calls[-1] == ("post_close",)


class Files(Keeping):
    """Keeps what files said while they were handed over."""

    def __init__(self):
        super().__init__()
        self.paths = []

    def log_file_artifact(self, state, log_level, artifact_name, file_path, *, overwrite):
        self.paths.append(file_path)
        self.calls.append(
            ("file", int(state.timestamp.batch), log_level, artifact_name, file_path.read_text(), overwrite)
        )

    def log_symlink_artifact(self, state, log_level, existing_artifact_name, symlink_artifact_name, *, overwrite):
        self.calls.append(("link", log_level, existing_artifact_name, symlink_artifact_name, overwrite))

    def artifacts(self):
        return [call for call in self.calls if call[0] in {"file", "link"}]


def test_files_are_handed_over_as_they_were_at_the_call(tmp_path):
    held = threading.Event()

    class Late(Files):
        def init(self, state, logger):
            held.wait(30)

    late, source = Late(), tmp_path / "model.pt"
    run = steno.init(destinations=[late])
    for batch in range(1, 4):
        source.write_text(f"weights {batch}")
        run.event(Event.BATCH_END, batch=batch)
        run.log_artifact(source, "model", overwrite=True, level=LogLevel.BATCH)
    run.log_artifact(source, link="latest")
    source.unlink()
    run.log({"x": 1.0})
    held.set()
    run.finish()
    assert [call for call in late.calls if call[0] in {"file", "link", "data"}] == [
        *(("file", batch, LogLevel.BATCH, "model", f"weights {batch}", True) for batch in (1, 2, 3)),
        ("file", 3, LogLevel.FIT, "model.pt", "weights 3", False),
        ("link", LogLevel.FIT, "model.pt", "latest", True),
        ("data", 3, LogLevel.BATCH, {"x": 1.0}),
    ]
    assert {path.name for path in late.paths} == {"model.pt"}
    assert not any(path.exists() for path in late.paths)
    assert not [*run.dir.glob(".steno/staging/*/call-*")]


def test_a_directory_comes_file_by_file(tmp_path):
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "a.txt").write_text("a")
    (tmp_path / "out" / "deep" / "b.txt").write_text("b")
    kept = Files()
    with steno.init(destinations=[kept]) as run:
        run.log_artifact(tmp_path / "out", "results")
    assert sorted(call[3:5] for call in kept.artifacts()) == [("results/a.txt", "a"), ("results/deep/b.txt", "b")]


def test_callbacks_log_files_by_composers_names(tmp_path):
    source = tmp_path / "weights"

    class Saving(Callback):
        def epoch_end(self, state, logger):
            source.write_text(f"after {int(state.timestamp.epoch)}")
            logger.file_artifact("epoch", "{run_name}/ep{epoch}-ba{batch:04d}-{{epoch}}", source, overwrite=True)
            logger.symlink_artifact("epoch", "{run_name}/ep{epoch}-ba{batch:04d}-{{epoch}}", "latest", overwrite=True)
            logger.file_artifact(9, "never", source)

    kept = Files()
    with steno.init(name="r", destinations=[Saving(), kept]) as run:
        for epoch in range(2):
            run.event(Event.BATCH_END)
            run.event(Event.EPOCH_END)
    names = ["r/ep1-ba0001-{epoch}", "r/ep2-ba0002-{epoch}"]
    assert [call[2:] for call in kept.artifacts() if call[0] == "file"] == [
        (LogLevel.EPOCH, name, f"after {number}", True) for number, name in enumerate(names, 1)
    ]
    assert [call[1:] for call in kept.artifacts() if call[0] == "link"] == [
        (LogLevel.EPOCH, name, "latest", True) for name in names
    ]
    assert feed(run, "Saving")["errors"] == 2


def test_records_with_levels_keep_them_whatever_their_keys(capsys):
    kept = Keeping()
    said = []
    with steno.init(destinations=[kept]) as run:
        for step in range(200):
            data = {f"k{step % 3}": step, "x": float(step)} if step % 2 else {"alone": float(step)}
            level = (None, 1, "epoch", LogLevel.BATCH)[step % 4]
            run.log(data, step, level=level)
            said.append((LogLevel(level or 3), data))
        run.log({"x": np.float32(0.5), 3: 1.0}, level=2)
        run.log({4: 1.0}, level=2)
        run.log({}, level=2)
    said += [(LogLevel.EPOCH, {"x": 0.5, "3": 1.0}), (LogLevel.EPOCH, {"4": 1.0})]
    assert [(call[2], call[3]) for call in kept.calls if call[0] == "data"] == said
    (journal,) = run_programs.journals(run.dir)
    assert journal.steps[:200] == [*range(200)]


def test_levels_are_read_back_by_destinations_of_batches(tmp_path):
    from steno.testing import MemoryDestination

    memory = MemoryDestination()
    with steno.init(destinations=[memory]) as run:
        for step in range(50):
            run.log({"x": float(step), "y": 1.0}, level=1 + step % 3)
    levels = [batch.meta[row]["level"] for batch in memory.batches for row in range(len(batch))]
    assert levels == [1 + step % 3 for step in range(50)]
