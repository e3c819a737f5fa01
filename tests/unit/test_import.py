"""`steno import` against event files of the real writers, whole, torn and damaged, beside TensorBoard's own reader."""

from __future__ import annotations

import io
import json
import os
import random
import warnings

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.histogram.summary_v2 import histogram_pb
from tensorboard.plugins.image.metadata import create_summary_metadata as image_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.event_file_writer import EventFileWriter

import steno
from steno.cli import event_runs, main
from steno.store.eventreader import EventFile, masked_crc


def writer(kind, place, **more):
    if kind == "tensorboardX":
        return pytest.importorskip("tensorboardX").SummaryWriter(str(place), **more)
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(place), **more)


@pytest.fixture(params=["tensorboardX", "torch"])
def kind(request):
    return request.param


@pytest.fixture
def call(tmp_path, capfd):
    """Imports a directory into `runs`; gives (exit status, what was said as JSON, standard error)."""

    def run(place, *more):
        capfd.readouterr()
        status = 0
        try:
            main(["import", str(place), "--dir", str(tmp_path / "runs"), "--json", *more])
        except SystemExit as end:
            status = end.code or 0
        out = capfd.readouterr()
        return status, json.loads(out.out)["runs"] if out.out else None, out.err

    return run


def files(place):
    return sorted(os.path.join(top, name) for top, _, names in os.walk(place) for name in names if "tfevents" in name)


def scalars(place):
    """What TensorBoard's accumulator has: {tag: [(step, value)]}."""
    found = EventAccumulator(str(place), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return {tag: [(one.step, one.value) for one in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_every_kind_comes_as_it_was(kind, tmp_path, call):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (3, 8, 9), dtype=np.uint8)
    data = rng.normal(size=1000)
    made = writer(kind, tmp_path / "logs")
    for step in range(20):
        made.add_scalar("train/loss", 1 / (step + 1), step, walltime=1e9 + step)
    made.add_scalar("odd", float("nan"), 2**40)
    made.add_image("sample", image, 3)
    made.add_text("note", "**bold**\nand more", 4)
    made.add_histogram("weights", data, 5)
    if kind == "torch":  # tensorboardX needs soundfile for it
        made.add_audio("tone", np.zeros((1, 100)), 6, 8000)
    made.add_pr_curve("pr", np.array([0, 1]), np.array([0.2, 0.8]), 7)
    made.close()
    status, (said,), _ = call(tmp_path / "logs")
    assert status == 0
    assert (said["project"], said["name"], said["files"], said["lost_bytes"]) == ("logs", "main", 1, 0)
    assert said["left_out"] == {"pr_curves": 1}
    book = steno.open(tmp_path / "runs" / "logs" / "main")
    loss = book.series("train/loss")
    assert list(zip(loss.step.tolist(), loss.value.tolist(), strict=True)) == scalars(tmp_path / "logs")["train/loss"]
    assert loss.time.astype("int64").tolist() == [10**18 + step * 10**9 for step in range(20)]
    assert book.series("odd").step.tolist() == [2**40]
    assert np.isnan(book.series("odd").value).all()
    (picture,) = book.media("sample")
    assert picture.step == 3
    assert (picture.value == image.transpose(1, 2, 0)).all()
    assert [one.value for one in book.media("note")] == ["**bold**\nand more"]
    (histogram,) = book.media("weights")
    assert sum(histogram.value["counts"]) == 1000
    assert histogram.value["min"] == pytest.approx(data.min())
    assert histogram.value["sum_squares"] == pytest.approx((data**2).sum())
    edges = histogram.value["edges"]
    assert histogram.value["counts"] == np.histogram(data, edges)[0].tolist()
    if kind == "torch":
        (tone,) = book.media("tone")
        assert tone.value.shape == (100, 1)
    assert book.info.state == "finished"
    assert "imported" in book.info.tags


def test_each_directory_becomes_a_run(kind, tmp_path, call):
    made = writer(kind, tmp_path / "logs")
    made.add_scalar("x", 1, 0)
    made.add_scalars("pair", {"a": 1.5, "b": 2.5}, 4)
    made.close()
    deep = writer(kind, tmp_path / "logs" / "deep" / "er")
    deep.add_hparams({"lr": 0.1, "name": "adam", "fast": True}, {"accuracy": 0.5})
    deep.close()
    status, said, _ = call(tmp_path / "logs", "--project", "old")
    assert status == 0
    assert len(said) == 5
    assert said[0]["name"] == "main"
    books = {one["name"]: steno.open(one["path"]) for one in said}
    values = sorted(book.series(key).value.tolist() for book in books.values() for key in sorted(set(book.keys())))
    assert values == [[0.5], [1.0], [1.5], [2.5]]
    assert {"lr": 0.1, "name": "adam", "fast": True} in [dict(book.info.config) for book in books.values()]
    assert all(book.info.project == "old" for book in books.values())


def test_many_files_of_a_directory_are_one_run(tmp_path, call):
    for index in range(3):
        made = EventFileWriter(str(tmp_path / "logs"), filename_suffix=f".{index}")
        made.add_event(event_pb2.Event(step=index, wall_time=1e9, summary=plain("x", index)))
        made.close()
    _, (said,), _ = call(tmp_path / "logs")
    assert (said["files"], said["points"]) == (3, 3)
    assert steno.open(said["path"]).series("x").step.tolist() == [0, 1, 2]


def plain(tag, value):
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag=tag, simple_value=value)])


def pictures(pixels):
    """What `tf.summary.image` writes, which needs TensorFlow."""
    encoded = []
    for one in pixels:
        file = io.BytesIO()
        PIL.Image.fromarray(one).save(file, "PNG")
        encoded.append(file.getvalue())
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[b"3", b"2", *encoded])
    tensor.tensor_shape.dim.add().size = 2 + len(encoded)
    metadata = image_metadata("picture", "", converted_to_tensor=True)
    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(tag="picture", tensor=tensor, metadata=metadata)])


def test_tensorflows_second_form_is_read(tmp_path, call):
    """Tensors with plugin metadata; TensorBoard's own functions write them."""
    data = np.arange(100.0)
    pixels = np.arange(2 * 2 * 3 * 3, dtype=np.uint8).reshape(2, 2, 3, 3)
    made = EventFileWriter(str(tmp_path / "logs"))
    for step, summary in enumerate(
        [
            scalar_pb("loss", 0.5),
            histogram_pb("weights", data, buckets=10),
            text_pb("note", "words"),
            pictures(pixels),
        ]
    ):
        made.add_event(event_pb2.Event(step=step, wall_time=1e9, summary=summary))
    bare = scalar_pb("loss", 0.25)
    bare.value[0].ClearField("metadata")  # a tag's later events need not say it again
    made.add_event(event_pb2.Event(step=9, wall_time=1e9, summary=bare))
    made.close()
    _, (said,), _ = call(tmp_path / "logs")
    assert (said["points"], said["left_out"]) == (6, {})
    book = steno.open(said["path"])
    assert book.series("loss").value.tolist() == [0.5, 0.25]
    (weights,) = book.media("weights")
    assert weights.value["counts"] == np.histogram(data, 10)[0].tolist()
    assert weights.value["edges"] == pytest.approx(np.histogram(data, 10)[1].tolist())
    assert [one.value for one in book.media("note")] == ["words"]
    found = [one.value for one in book.media("picture")]
    assert (np.array(found) == pixels).all()


def test_what_steno_wrote_itself_comes_back(tmp_path, call):
    with steno.init("p", "own", dir=tmp_path / "first", destinations=["tensorboard"], collector=False) as run:
        for step in range(10):
            run.log({"loss": step / 4, "lr": 0.5}, step=step)
        run.log({"weights": steno.Histogram(np.arange(100.0), bins=10), "note": steno.Text("words")}, step=10)
    steno.sync(run.dir)
    _, (said,), _ = call(run.dir / "tensorboard")
    book = steno.open(said["path"])
    assert book.series("loss").value.tolist() == [step / 4 for step in range(10)]
    (weights,) = book.media("weights")
    assert weights.value["counts"] == [10] * 10
    assert weights.value["edges"] == pytest.approx(np.linspace(0, 99, 11).tolist())
    assert [one.value for one in book.media("note")] == ["words"]


def test_what_a_purge_voided_is_kept_and_hidden(kind, tmp_path, call):
    made = writer(kind, tmp_path / "logs", filename_suffix=".1")
    for step in range(10):
        made.add_scalar("x", step, step)
    made.close()
    again = writer(kind, tmp_path / "logs", filename_suffix=".2", purge_step=6)
    for step in range(6, 8):
        again.add_scalar("x", -step, step)
    again.close()
    _, (said,), _ = call(tmp_path / "logs")
    book = steno.open(said["path"])
    found = book.series("x")
    assert list(zip(found.step.tolist(), found.value.tolist(), strict=True)) == scalars(tmp_path / "logs")["x"]
    assert found.value.tolist() == [0, 1, 2, 3, 4, 5, -6, -7]
    assert sorted(book.series("x", attempt="all").value.tolist()) == [-7, -6, *range(10)]


# -- damage --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a file of 30 scalars, a text and a histogram."""
    place = tmp_path_factory.mktemp("whole")
    made = writer("torch", place)
    for step in range(30):
        made.add_scalar("x", step, step)
    made.add_text("note", "words", 1)
    made.add_histogram("h", np.arange(10.0), 2)
    made.close()
    (path,) = files(place)
    with open(path, "rb") as file:
        return file.read()


def read(place, data):
    """(values read by us, bytes lost) of a file with these bytes."""
    path = place / "events.out.tfevents.1"
    path.write_bytes(data)
    file = EventFile(path)
    return [(event.step, value.tag, value.data) for event in file for value in event.values], file.lost_bytes


def theirs(place, data):
    path = place / "events.out.tfevents.1"
    path.write_bytes(data)
    found = []
    try:
        for event in LegacyEventFileLoader(str(path)).Load():
            found += [(event.step, value.tag) for value in event.summary.value]
    except Exception:  # TensorBoard's reader raises at some damage
        pass
    return found


def test_a_file_cut_anywhere_gives_what_tensorboard_reads_of_it(whole, tmp_path):
    everything, lost = read(tmp_path, whole)
    assert (len(everything), lost) == (32, 0)
    for cut in random.Random(1).sample(range(len(whole)), 60):
        found, lost = read(tmp_path, whole[:cut])
        assert [step for step, _, _ in found] == [step for step, _ in theirs(tmp_path, whole[:cut])]
        assert found == everything[: len(found)]
        assert (lost > 0) == (cut not in boundaries(whole))


def boundaries(data):
    at, found = 0, {0}
    while at < len(data):
        at += 16 + int.from_bytes(data[at : at + 8], "little")
        found.add(at)
    return found


def test_zeros_behind_the_end_are_counted_and_nothing_is_made_of_them(whole, tmp_path):
    found, lost = read(tmp_path, whole + bytes(1000))
    assert (len(found), lost) == (32, 1000)


def test_a_damaged_record_costs_only_itself(whole, tmp_path):
    everything, _ = read(tmp_path, whole)
    starts = sorted(boundaries(whole))
    data = bytearray(whole)
    data[starts[5] + 20] ^= 0xFF
    found, lost = read(tmp_path, bytes(data))
    assert len(found) == 31
    assert set(map(str, found)) < set(map(str, everything))
    assert lost == starts[6] - starts[5]


def test_a_damaged_length_ends_the_file(whole, tmp_path):
    starts = sorted(boundaries(whole))
    data = bytearray(whole)
    data[starts[5] + 2] ^= 1
    found, lost = read(tmp_path, bytes(data))
    assert len(found) == 4
    assert lost == len(whole) - starts[5]


@settings(max_examples=300, deadline=None)
@given(record=st.binary(max_size=80), hits=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4))
def test_no_bytes_make_the_reader_fail(tmp_path_factory, whole, record, hits):
    """Records whose checksums are right and whose content is anything."""
    place = tmp_path_factory.getbasetemp()
    starts = sorted(boundaries(whole))
    good = bytearray(whole[starts[-2] + 12 : starts[-1] - 4])
    for at, byte in hits:
        good[at % len(good)] = byte
    data = b""
    for body in (record, bytes(good)):
        head = len(body).to_bytes(8, "little")
        data += head + masked_crc(head).to_bytes(4, "little") + body + masked_crc(body).to_bytes(4, "little")
    _, lost = read(place, data)
    assert 0 <= lost <= len(data)


def test_a_torn_file_is_imported_and_said(whole, tmp_path, call):
    place = tmp_path / "logs"
    place.mkdir()
    (place / "events.out.tfevents.1").write_bytes(whole[:-7])
    status, (said,), _ = call(place)
    assert status == 0
    assert said["points"] == 31
    assert said["lost_bytes"] == len(whole) - 7 - sorted(boundaries(whole))[-2]


def test_a_picture_of_no_known_type_is_counted(tmp_path, call):
    made = EventFileWriter(str(tmp_path / "logs"))
    image = summary_pb2.Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=b"nothing")
    value = summary_pb2.Summary.Value(tag="i", image=image)
    made.add_event(event_pb2.Event(step=1, summary=summary_pb2.Summary(value=[value])))
    made.close()
    _, (said,), _ = call(tmp_path / "logs")
    assert (said["points"], said["left_out"]) == (0, {"image": 1})


# -- use -----------------------------------------------------------------------------------------------------


def test_what_is_there_is_not_written_over(tmp_path, call):
    made = writer("torch", tmp_path / "logs")
    made.add_scalar("x", 1, 0)
    made.close()
    assert call(tmp_path / "logs")[0] == 0
    run_dir = tmp_path / "runs" / "logs" / "main"
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    status, (again,), _ = call(tmp_path / "logs")
    assert (status, again["there_already"], again["points"]) == (0, True, 0)
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before

    more = writer("torch", tmp_path / "logs")
    more.add_scalar("x", 2, 1)
    more.close()
    status, (other,), _ = call(tmp_path / "logs")
    assert status == 1
    assert "is there already, from the files as they were" in other["error"]
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before
    assert call(tmp_path / "logs", "--project", "again")[0] == 0


def test_a_run_that_is_not_the_imports_is_left_alone(tmp_path, call):
    made = writer("torch", tmp_path / "logs")
    made.add_scalar("x", 1, 0)
    made.close()
    theirs = tmp_path / "runs" / "logs" / "main" / "keep"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    status, (one,), _ = call(tmp_path / "logs")
    assert status == 1
    assert "is there already, and is not from" in one["error"]
    assert theirs.read_text() == "mine"


def test_a_try_that_was_cut_short_is_done_again(tmp_path, call):
    for name in ("a", "b"):
        made = writer("torch", tmp_path / "logs" / name)
        for step in range(10):
            made.add_scalar("x", step, step)
        made.close()
    # A file that cannot be read ends the first try of `b` half way, and not the import of the others.
    broken = tmp_path / "logs" / "b" / "events.out.tfevents.9"
    broken.mkdir()
    real = event_runs.EventFile

    def cut(path, plugins):
        if path.parent.name == "b":
            raise OSError("the disk is gone")
        return real(path, plugins)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_runs, "EventFile", cut)
        status, (a, b), _ = call(tmp_path / "logs")
    assert (status, a["points"], a["error"]) == (1, 10, None)
    assert "the disk is gone" in b["error"]
    status, (a, b), _ = call(tmp_path / "logs")
    assert (status, a["there_already"], b["points"]) == (0, True, 10)
    with steno.open(tmp_path / "runs" / "logs" / "b") as book:
        assert book.series("x").value.tolist() == list(range(10))


ODD_NAMES = [
    "a\tb", "a\nb", "a b", " lead", "trail ", ".hidden", "\u202eevil", "é", "e\u0301", "x" * 250, "x" * 249 + "y",
    "back\\slash", "*?[x]", "\x1b[31m", "..a", "🤖", "lr=1e-3,layers=[64, 32]",
]  # fmt: skip


def test_directories_of_any_name_are_imported_each_under_a_name_of_its_own(tmp_path, call):
    places = [tmp_path / "logs" / name for name in ODD_NAMES]
    places.append(tmp_path / "logs" / ("deep-" * 40) / ("trial-" * 40) / "version_0")
    for step, place in enumerate(places):
        made = writer("torch", place)
        made.add_scalar("x", 1, step)
        made.close()
    places[-1].rename(tmp_path / "logs" / os.fsdecode(b"latin-\xe9"))
    status, said, _ = call(tmp_path / "logs")
    assert (status, [one["error"] for one in said]) == (0, [None] * len(places))
    names = [one["name"] for one in said]
    assert len(set(names)) == len(names)
    assert all(name.isprintable() and len(name.encode()) <= 200 for name in names)
    steps = sorted(steno.open(one["path"]).series("x").step.item() for one in said)
    assert steps == list(range(len(places)))


def test_links_are_followed_each_directory_once(tmp_path, call):
    for name in ("logs/real", "elsewhere/far"):
        made = writer("torch", tmp_path / name)
        made.add_scalar("x", 1, 0)
        made.close()
    (tmp_path / "logs" / "a-link").symlink_to(tmp_path / "logs" / "real")
    (tmp_path / "logs" / "far").symlink_to(tmp_path / "elsewhere" / "far")
    (tmp_path / "elsewhere" / "far" / "loop").symlink_to(tmp_path / "logs")
    (tmp_path / "logs" / "dead").symlink_to(tmp_path / "nowhere")
    status, said, _ = call(tmp_path / "logs")
    assert (status, sorted(one["name"] for one in said)) == (0, ["far", "real"])


@pytest.mark.parametrize("missing", [True, False])
def test_a_place_without_event_files_is_one_clear_line(tmp_path, call, missing):
    place = tmp_path / "logs"
    if not missing:
        place.mkdir()
    status, _, error = call(place)
    assert status == 2
    assert error.startswith("steno: there are no event files")
    assert error.count("\n") == 1


def test_it_says_what_it_did_to_people(tmp_path, capfd):
    made = writer("torch", tmp_path / "logs")
    made.add_scalar("x", 1, 0)
    made.add_pr_curve("pr", np.array([0, 1]), np.array([0.2, 0.8]), 7)
    made.close()
    with open(files(tmp_path / "logs")[0], "ab") as file:
        file.write(b"torn")
    with pytest.raises(SystemExit) as end:
        main(["import", str(tmp_path / "logs"), "--dir", str(tmp_path / "runs")])
    assert not end.value.code
    out = " ".join(capfd.readouterr().out.split())
    assert f"1 points of 1 file in {tmp_path}/runs/logs/main" in out
    assert "left out: 1 pr_curves" in out
    assert "4 bytes could not be read" in out
