"""Durable files: what a reader, a full disk and a power loss meet."""

from __future__ import annotations

import errno
import json
import os

import pytest

from durable_recorder import ALL, KEPT, LOST, Loss, PowerOffError, Recorder, drawn
from steno import files

EVERY = [*ALL, *map(drawn, range(20))]


def outcomes(recorder, tmp_path, name, losses=EVERY):
    """What the file of that name holds after each power loss; None: it is not there."""
    found = set()
    for number, (step, loss) in enumerate(recorder.states(losses)):
        path = recorder.power_loss(step, tmp_path / "after" / str(number), loss) / name
        found.add(path.read_bytes() if path.exists() else None)
    return found


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    return place


def test_replacing_a_file_leaves_the_old_or_the_new_whatever_a_power_loss_takes(place, tmp_path):
    (place / "a").write_bytes(b"old")
    with Recorder(place) as recorder:
        files.replace(place / "a", b"the new one", sync=True)
    assert [step.call for step in recorder.steps] == ["create", "write", "fsync", "rename"]
    assert outcomes(recorder, tmp_path, "a") == {b"old", b"the new one"}


def test_without_a_sync_a_power_loss_may_leave_an_empty_or_a_torn_file(place, tmp_path):
    """The recorder sees what it is there to see."""
    (place / "a").write_bytes(b"old")
    with Recorder(place) as recorder:
        files.replace(place / "a", b"the new one")
    assert outcomes(recorder, tmp_path, "a") == {b"old", b"", b"the n", b"the new one"}


def test_a_name_counts_once_its_directory_is_synced(place, tmp_path):
    with Recorder(place) as recorder:
        files.replace(place / "a", b"data", sync=True)
        before = len(recorder.steps)
        files.sync_dir(place)
    assert not (recorder.power_loss(before, tmp_path / "before", LOST) / "a").exists()
    assert (recorder.power_loss(before + 1, tmp_path / "after", LOST) / "a").read_bytes() == b"data"


def test_a_files_sync_keeps_the_names_that_it_has_and_its_path(place, tmp_path):
    with Recorder(place) as recorder:
        (place / "hidden").mkdir()
        files.rename(place / "hidden", place / "shown")
        files.write_new(place / "shown" / "a", b"data")
        files.link(place / "shown" / "a", place / "b")
        files.sync_file(place / "b")
        files.unlink(place / "b")
    after = recorder.power_loss(len(recorder.steps), tmp_path / "after", LOST)
    assert sorted(path.relative_to(after).as_posix() for path in after.rglob("*")) == ["b", "shown", "shown/a"]


def test_names_are_lost_from_the_last_one_on(place, tmp_path):
    with Recorder(place) as recorder:
        for name in "abc":
            files.touch(place / name)
        files.unlink(place / "a")
    left = {
        "".join(sorted(os.listdir(recorder.power_loss(4, tmp_path / str(seed), drawn(seed))))) for seed in range(40)
    }
    assert left == {"", "a", "ab", "abc", "bc"}


def test_what_was_unlinked_may_come_back_until_its_directory_is_synced(place, tmp_path):
    (place / "a").write_bytes(b"data")
    with Recorder(place) as recorder:
        files.unlink(place / "a")
        files.sync_dir(place)
    assert (recorder.power_loss(1, tmp_path / "before", LOST) / "a").read_bytes() == b"data"
    assert not (recorder.power_loss(1, tmp_path / "lucky", KEPT) / "a").exists()
    assert not (recorder.power_loss(2, tmp_path / "after", LOST) / "a").exists()


def test_the_recorder_sees_what_goes_past_the_door(place, tmp_path):
    """A mapped or foreign write counts with the sync of its file, a rename of a directory as one step."""
    with Recorder(place) as recorder:
        (place / "hidden").mkdir()
        (place / "hidden" / "a").write_bytes(b"one")
        files.sync_file(place / "hidden" / "a")
        files.sync_dir(place / "hidden")
        (place / "hidden" / "a").write_bytes(b"two")
        files.rename(place / "hidden", place / "shown")
        files.sync_dir(place)
    assert outcomes(recorder, tmp_path, "shown/a") == {None, b"one", b"two", b"tne"}
    assert (recorder.power_loss(2, tmp_path / "lost", LOST) / "hidden" / "a").read_bytes() == b"one"
    names_first = recorder.power_loss(3, tmp_path / "names", Loss(names=True, bytes=False, ledger=False))
    assert (names_first / "shown" / "a").read_bytes() == b"one"


def test_a_hard_link_shares_its_bytes_after_a_power_loss_too(place, tmp_path):
    with Recorder(place) as recorder:
        files.write_new(place / "a", b"data")
        files.link(place / "a", place / "b")
        files.sync_file(place / "b")
        files.sync_dir(place)
    after = recorder.power_loss(len(recorder.steps), tmp_path / "after", LOST)
    assert (after / "a").samefile(after / "b")
    assert (after / "a").read_bytes() == b"data"


def _steps(work, place):
    with Recorder(place) as recorder:
        work()
    return len(recorder.steps)


@pytest.mark.parametrize(
    "work",
    [
        lambda path: files.replace(path, b"new", sync=True),
        lambda path: files.write_json(path, {"new": 1}),
        lambda path: files.write_new(path.with_name("other"), b"new", sync=True),
    ],
)
def test_a_failure_at_any_step_is_raised_and_leaves_the_old_file_alone(place, work):
    path = place / "a"
    path.write_bytes(b"old")
    steps = _steps(lambda: work(path), place)
    path.write_bytes(b"old")
    for one in os.listdir(place):
        if one != "a":
            os.unlink(place / one)
    for step in range(steps):
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):  # noqa: SIM117
            with Recorder(place, fail_at=step, error=errno.ENOSPC):
                work(path)
        assert os.listdir(place) == ["a"]
        assert path.read_bytes() == b"old"


def test_a_dead_machine_does_not_clean_up(place):
    with pytest.raises(PowerOffError), Recorder(place, die_at=2) as recorder:
        files.replace(place / "a", b"new", sync=True)
    assert [step.call for step in recorder.steps] == ["create", "write"]
    assert len(os.listdir(place)) == 1


def test_a_file_is_made_once(place):
    assert files.create_json(place / "new" / "a", {"by": 1})
    assert not files.create_json(place / "new" / "a", {"by": 2})
    assert files.read_json(place / "new" / "a") == {"by": 1}
    assert os.listdir(place / "new") == ["a"]
    with pytest.raises(FileExistsError):
        files.write_new(place / "new" / "a", b"")


def test_a_file_is_made_once_where_there_are_no_hard_links(place, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(files.system, "link", refuse)
    assert files.create_json(place / "a", {"by": 1})
    assert not files.create_json(place / "a", {"by": 2})
    assert files.read_json(place / "a") == {"by": 1}
    assert os.listdir(place) == ["a"]


def test_json_is_kept_whatever_text_is_in_it(place):
    said = {"name": "größer 😀", "half": "\udc80", "list": [1, None]}
    files.write_json(place / "a", said)
    assert files.read_json(place / "a") == said
    assert "größer" in (place / "a").read_text(encoding="utf-8")


@pytest.mark.parametrize("data", [None, b"", b"{", b"[1]", b"\xff\xfe{", b'{"a": 1', b"null"])
def test_what_is_no_object_reads_as_empty(place, data):
    if data is not None:
        (place / "a").write_bytes(data)
    assert files.read_json(place / "a") == {}


def test_lines_are_appended_whole(place):
    for number in range(3):
        line = json.dumps(number).encode() + b"\n"
        assert files.append(place / "a", line) == len(line)
    assert (place / "a").read_bytes() == b"0\n1\n2\n"


def test_a_move_to_another_file_system_copies(place, monkeypatch):
    (place / "a").write_bytes(b"data")
    real, left = os.replace, [1]

    def apart(old, new):
        if left.pop() if left else False:
            raise OSError(errno.EXDEV, "another file system")
        real(old, new)

    monkeypatch.setattr(files.system, "rename", apart)
    files.move(place / "a", place / "b")
    assert (os.listdir(place), (place / "b").read_bytes()) == (["b"], b"data")
