"""Events, levels, times and positions, and what a loop's events say about where it stands."""

from __future__ import annotations

import copy
import pickle
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steno import Callback, Event, LogLevel, State, Timestamp
from steno.events.position import Position
from steno.events.progress import KEPT, Progress, duration
from steno.events.time import Time

SEED_ERA = [
    "init",
    "fit_start",
    "epoch_start",
    "after_dataloader",
    "batch_start",
    "before_train_batch",
    "before_forward",
    "after_forward",
    "before_loss",
    "after_loss",
    "before_backward",
    "after_backward",
    "after_train_batch",
    "batch_end",
    "batch_checkpoint",
    "epoch_end",
    "epoch_checkpoint",
    "fit_end",
    "eval_start",
    "eval_batch_start",
    "eval_before_forward",
    "eval_after_forward",
    "eval_batch_end",
    "eval_end",
]
LATER = [
    "predict_start",
    "predict_batch_start",
    "predict_before_forward",
    "predict_after_forward",
    "predict_batch_end",
    "predict_end",
    "before_load",
    "after_load",
    "iteration_start",
    "iteration_end",
    "iteration_checkpoint",
    "before_dataloader",
    "eval_before_all",
    "eval_after_all",
    "eval_standalone_start",
    "eval_standalone_end",
]


def test_all_events_of_a_loop_are_there_and_each_has_its_method():
    assert {event.value for event in Event} == {*SEED_ERA, *LATER}
    assert len(SEED_ERA) == 24
    for event in Event:
        assert callable(getattr(Callback, event.value))
        assert event.name == event.value.upper()


def test_pairs_of_events():
    before = {event for event in Event if event.is_before_event}
    after = {event for event in Event if event.is_after_event}
    assert not before & after
    assert {event.value for event in Event if event not in before | after} == {
        "init", "batch_checkpoint", "epoch_checkpoint", "iteration_checkpoint"
    }  # fmt: skip
    assert sorted(event.canonical_name for event in before) == sorted(event.canonical_name for event in after)
    assert Event.EPOCH_START.canonical_name == Event.EPOCH_END.canonical_name == "epoch"
    assert Event.EVAL_BEFORE_FORWARD.canonical_name == "eval_forward"


def test_an_event_is_a_text_and_found_in_any_case():
    assert Event.BATCH_END == "batch_end"
    assert Event("BATCH_END") is Event("batch_end") is Event.BATCH_END
    for wrong in ("batch", 3, None):
        with pytest.raises(ValueError, match="no event of a training loop"):
            Event(wrong)


def test_levels_are_ordered_and_made_of_numbers_names_and_members():
    assert LogLevel.FIT < LogLevel.EPOCH < LogLevel.BATCH
    assert [int(level) for level in LogLevel] == [1, 2, 3]
    for one in (3, 3.0, "batch", "BATCH", "Batch", LogLevel.BATCH):
        assert LogLevel(one) is LogLevel.BATCH


@pytest.mark.parametrize("wrong", [7, 0, -1, "x", "", None, 2.5, [1], object()])
def test_a_level_that_is_none_is_a_clear_error(wrong):
    with pytest.raises(ValueError, match=r"is no level: use FIT \(1\), EPOCH \(2\), BATCH \(3\)"):
        LogLevel(wrong)


def test_a_time_is_a_number_with_a_unit():
    time = Time(10, "ep")
    assert int(time) == 10
    assert [0] * (int(time) + 1) == [0] * 11
    assert list(range(time)) == list(range(10))
    assert time == "10ep" == time.to_timestring() == str(time)
    assert time == 10
    assert time != Time(10, "ba")
    assert time > "9ep"
    assert time <= 10
    assert time + 1 == "11ep"
    assert 12 - time == "2ep"
    assert time - "4ep" == 6
    assert time % 4 == 2
    assert time * 2 == "20ep"
    assert time / "40ep" == Time(0.25, "dur")
    assert f"{time:03d}" == "010"
    assert hash(time) == hash(Time(10, "ep"))
    with pytest.raises(ValueError, match="different units"):
        assert time < "9ba"
    for wrong in ("10", "ep", "1.5ep", "tenep", "--1ba"):
        with pytest.raises(ValueError, match="is no time"):
            Time.parse(wrong)
    assert Time.parse("1_000ba") == Time(1000, "ba")
    assert Time.parse("0.5dur").value == 0.5


def test_a_timestamp_goes_on_by_batches_and_epochs():
    first = Timestamp()
    stamp = first.to_next_batch(8, 80, timedelta(seconds=2)).to_next_batch(4, 40, 3)
    assert (int(first.batch), int(stamp.batch), int(stamp.sample), int(stamp.token)) == (0, 2, 12, 120)
    assert (stamp.total_wct, stamp.epoch_wct, stamp.batch_wct) == tuple(timedelta(seconds=s) for s in (5, 5, 3))
    after = stamp.to_next_epoch()
    assert (int(after.epoch), int(after.batch), int(after.batch_in_epoch)) == (1, 2, 0)
    assert (int(after.sample_in_epoch), after.epoch_wct, after.total_wct) == (0, timedelta(), timedelta(seconds=5))
    assert after.get("ba") == after.get("batch") == 2
    assert after >= "1ep"
    assert after < "3ba"
    assert not after > Time(12, "sp")
    assert after.copy(batch=9).batch == "9ba"
    assert Timestamp().load_state_dict(after.state_dict()) == after
    assert hash(after) == hash(pickle.loads(pickle.dumps(after)))
    with pytest.raises(AttributeError):
        after.batch = 3
    with pytest.raises(ValueError, match="counted in 'ba'"):
        Timestamp(batch="3ep")
    with pytest.raises(ValueError, match="get_elapsed_duration"):
        after.get("dur")
    with pytest.raises(TypeError, match="compared with a time"):
        assert after < 3


def test_a_state_cannot_be_changed_and_says_what_it_does_not_hold():
    state = State("r", payload={"loss": 0.5})
    assert state.timer is state.timestamp
    assert state.loss == 0.5
    with pytest.raises(AttributeError, match=r"no 'model'.*run\.event\(\.\.\., model=\.\.\.\)"):
        _ = state.model
    with pytest.raises(TypeError):
        state.payload["loss"] = 1.0
    with pytest.raises(AttributeError):
        state.rank = 3
    assert not hasattr(state, "outputs")
    for other in (copy.copy(state), copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert other == state
        assert other.loss == 0.5


def follow(*events, **more):
    progress = Progress(State("r", **more), began=0)
    for number, (event, said) in enumerate(events, 1):
        progress.take(Event(event), said, number, number * 1_000_000_000)
    return progress


def counts(stamp):
    return int(stamp.epoch), int(stamp.batch), int(stamp.batch_in_epoch)


def test_a_loop_that_tells_nothing_but_events_is_counted():
    epoch = [("epoch_start", {}), *[("batch_start", {}), ("batch_end", {"samples": 8, "tokens": 90})] * 3]
    ends = [("epoch_end", {})]
    progress = follow(("fit_start", {}), *epoch, *ends, *epoch)
    stamp = progress.now.timestamp
    assert counts(stamp) == (1, 6, 3)
    assert (int(stamp.sample), int(stamp.sample_in_epoch), int(stamp.token)) == (48, 24, 540)
    assert stamp.batch_wct == timedelta(seconds=2)
    assert stamp.epoch_wct == timedelta(seconds=4 + 2 + 2)  # each from the end of the batch before
    assert stamp.total_wct == timedelta(seconds=15)
    # And it is the same for one that tells of the beginnings of epochs only.
    assert counts(follow(("fit_start", {}), *epoch, *epoch).now.timestamp) == (1, 6, 3)


def test_what_the_loop_says_holds():
    progress = follow(
        ("batch_end", {"batch": 41, "epoch": 4, "sample": 820, "token": 9}),
        ("batch_end", {"batch": 42}),
        ("batch_end", {"batch": 43, "epoch": 5, "batch_in_epoch": 7, "sample_in_epoch": 3.0}),
    )
    states = [progress.at(number).timestamp for number in (2, 3, 4)]
    assert [counts(one) for one in states] == [(4, 41, 41), (4, 42, 42), (5, 43, 7)]
    assert [int(one.sample) for one in states] == [820] * 3
    assert int(states[2].sample_in_epoch) == 3
    ended = follow(("batch_end", {"batch": 5, "epoch": 2}), ("epoch_end", {"epoch": 2})).now.timestamp
    assert counts(ended) == (2, 5, 0)


def test_what_is_no_count_is_passed_over():
    stamp = follow(("batch_end", {"batch": "seven", "epoch": None, "sample": True, "token": 1.5})).now.timestamp
    assert counts(stamp) == (0, 1, 1)
    assert (int(stamp.sample), int(stamp.token)) == (0, 0)


def test_an_evaluation_has_its_own_counts():
    inside = [("eval_batch_start", {}), ("eval_batch_end", {"batch": 3, "samples": 5})]
    state = follow(("batch_end", {"batch": 70}), ("eval_start", {}), *inside).now
    assert (int(state.timestamp.batch), int(state.eval_timestamp.batch), int(state.eval_timestamp.sample)) == (70, 3, 5)
    state = follow(("batch_end", {}), ("eval_start", {}), *inside, ("eval_end", {}), ("eval_start", {})).now
    assert (int(state.timestamp.batch), int(state.eval_timestamp.batch)) == (1, 0)
    state = follow(("predict_start", {}), ("predict_batch_end", {}), ("predict_batch_end", {})).now
    assert (int(state.timestamp.batch), int(state.predict_timestamp.batch)) == (0, 2)


def test_the_elapsed_share_of_a_duration():
    state = follow(("fit_start", {"max_duration": "4ep"}), ("epoch_end", {}), ("batch_end", {})).now
    assert state.max_duration == "4ep"
    assert state.get_elapsed_duration() == Time(0.25, "dur")
    assert follow(("batch_end", {}), max_duration=duration("8ba")).now.get_elapsed_duration() >= 0.125
    assert follow(("batch_end", {})).now.get_elapsed_duration() is None
    assert duration(3) == "3ep"
    for nothing in (None, "soon", -1, True, [], {}):
        assert duration(nothing) is None


def test_a_state_is_looked_up_by_the_record_it_belongs_to():
    progress = Progress(State("r"))
    for number in range(10, 40, 10):
        progress.take(Event.BATCH_END, {}, number, 0)
    assert [int(progress.at(number).timestamp.batch) for number in (1, 10, 11, 20, 29, 30, 31)] == [0, 0, 1, 1, 2, 2, 3]


def test_what_is_remembered_is_bounded():
    progress = Progress(State("r"))
    for number in range(1, KEPT + 100):
        progress.take(Event.BATCH_START, {}, number, 0)
    assert len(progress._at) <= KEPT
    assert progress.at(1) is progress._states[0]


SAID = st.fixed_dictionaries({}, optional={"epoch": st.integers(0, 9), "batch": st.integers(0, 99)})


@given(st.lists(st.tuples(st.sampled_from(list(Event)), SAID), max_size=60))
def test_a_position_is_the_epoch_and_the_batch_of_the_state(events):
    progress, position = Progress(State("run")), Position()
    for record, (event, said) in enumerate(events):
        progress.take(event, said, record, record)
        position.take(event.value.upper() if record % 2 else event, said)
        stamp = progress.now.timestamp
        assert (position.epoch or 0, position.batch or 0) == (int(stamp.epoch), int(stamp.batch))


def test_a_position_nobody_has_said_is_none_and_any_event_may_say_it():
    position = Position()
    position.take("eval_batch_end", {"batch": 3})
    position.take("restarted", {})
    assert (position.epoch, position.batch) == (None, None)
    position.take("restarted", {"epoch": 7})
    position.take("epoch_end", {})
    assert (position.epoch, position.batch) == (8, 0)
    held = object()
    position.take("epoch_end", {"epoch": held})
    position.take("epoch_end", {})
    assert position.epoch is held


def test_a_timestamp_gives_its_fields_as_they_are():
    stamp = Timestamp(epoch=2, batch=7, total_wct=3)
    assert stamp.get_state()["epoch"] == "2ep"
    assert stamp.get_state()["total_wct"].total_seconds() == 3
    assert list(stamp.get_state()) == list(stamp.state_dict())
