"""What people log without a second thought: figures, pictures, frames, other numbers, masked arrays, lists, None."""

from __future__ import annotations

import enum
import io
import math
import uuid
from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import polars as pl
import pyarrow as pa
import pytest
from PIL import Image as Pil
from run_programs import no_launcher

import steno
from steno.capture.exact import whole
from steno.capture.snapshot import Snapshot
from steno.errors import RecordError

mpl.use("Agg")
import matplotlib.pyplot as plt

MASKED = np.ma.masked_array(np.arange(20.0), mask=[number % 2 for number in range(20)])


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@dataclass
class Losses:
    train: float = 0.5
    parts: tuple[Decimal, ...] = (Decimal("0.25"),)


class Hostile:
    """Its text cannot be had."""

    def __repr__(self):
        raise RuntimeError

    __str__ = __repr__


def figure():
    made, axes = plt.subplots(figsize=(1, 1))
    axes.plot([1, 2])
    return made, axes


@pytest.fixture(scope="module")
def said():
    return io.StringIO()


@pytest.fixture(scope="module")
def book(tmp_path_factory, said):
    with pytest.MonkeyPatch.context() as patch:
        no_launcher(patch)
        patch.chdir(tmp_path_factory.mktemp("bare"))
        patch.setattr("sys.stderr", said)
        run = steno.init("p", "r")
        drawn, axes = figure()
        run.log({"figure": drawn, "axes": axes, "pyplot": plt, "figures": [drawn, figure()[0]]}, step=0)
        run.log({"plotly": go.Figure(go.Scatter(y=[1, 2])), "loss": 1.0}, step=0)
        run.log({"pil": Pil.new("RGB", (4, 3), "red"), "gray": Pil.new("L", (2, 2))}, step=0)
        run.log(
            {
                "pandas": pd.DataFrame({"epoch": range(20), "loss": [1 / (n + 1) for n in range(20)]}),
                "text": pd.DataFrame({"name": ["a", "b"], "n": [1, None]}),
                "polars": pl.DataFrame({"a": [1, 2]}),
                "arrow": pa.table({"a": [1, 2]}),
                "words": pd.Series(["x", "y"], name="w"),
                "n": {"nested": pd.DataFrame({"a": [1]})},
            },
            step=0,
        )
        run.log(
            {
                "series": pd.Series([1.0, 2.0], index=["p", "q"]),
                "missing": pd.Series([1, None, 3], dtype="Int64"),
                "pl series": pl.Series([1, None, 3]),
                "decimals": pd.Series([Decimal("0.5"), Decimal("1.5")]),
            },
            step=0,
        )
        for step in range(3):  # the first one is prepared, the others take the hot path
            run.log({"decimal": Decimal("1.5"), "fraction": Fraction(1, 4), "plain": 1.0}, step=step)
            run.log({"one decimal": Decimal("2.5")}, step=step)
        run.log(
            {
                "big": Decimal(2**70), "list": [Decimal("0.5"), Fraction(1, 2)],
                "whole": Fraction(6, 2), "objects": np.array([Decimal("0.5"), 2], object),
            },
            step=0,
        )  # fmt: skip
        run.log(
            {"far": Decimal("1e400"), "complex": 1j, "endless": Decimal("Infinity"), "array": np.array(1.0)},
            step=0,
        )
        run.log(
            {
                "masked": MASKED, "few": MASKED[:4], "ints": np.ma.masked_array([1, 2, 3], mask=[0, 1, 0]),
                "all": np.ma.masked_all(20), "none": np.ma.masked_array(np.arange(20.0)), "one": np.ma.masked,
                "histogram": steno.Histogram(MASKED),
                "image": steno.Image(np.ma.masked_array(np.full((2, 2), 200, np.uint8), mask=np.eye(2))),
            },
            step=0,
        )  # fmt: skip
        run.log({"masked bins": MASKED, "masked list": MASKED}, step=0, arrays="histogram")
        run.log({"masked list": MASKED}, step=0, arrays="list")
        run.log(
            {"colour": Colour.RED, "two": Colour.TWO, "path": Path("a/b"), "set": {3.0}, "array": np.array(1.0)},
            step=0,
        )
        run.log({"losses": Losses(), "array": np.array(1.0), "id": uuid.UUID(int=1)}, step=0)
        opened = finished(run)
    with opened:
        yield opened


def finished(run):
    assert run.finish(60)
    return steno.open(run.dir)


# -- media --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["figure", "axes", "pyplot", "figures/0", "figures/1"])
def test_a_matplotlib_figure_is_a_figure(book, key):
    (item,) = book.media(key)
    assert item.ref.kind == "figure"
    assert item.value.shape == (100, 100, 4)


def test_a_plotly_figure_is_a_figure(book):
    (item,) = book.media("plotly")
    assert item.ref.kind == "figure"
    assert item.value["data"][0]["type"] == "scatter"


def test_a_pil_image_is_an_image(book):
    assert book.media("pil")[0].value.shape == (3, 4, 3)
    assert (book.media("pil")[0].value[0, 0] == [255, 0, 0]).all()
    assert book.media("gray")[0].ref.kind == "image"


def test_a_frame_is_a_table(book):
    table = book.media("pandas")[0].value
    assert table.column_names == ["epoch", "loss"]
    assert table.num_rows == 20
    assert book.media("text")[0].value.to_pydict() == {"name": ["a", "b"], "n": [1.0, None]}
    for key in ("polars", "arrow"):
        assert book.media(key)[0].value.to_pydict() == {"a": [1, 2]}
    assert book.media("n/nested")[0].value.to_pydict() == {"a": [1]}
    assert book.media("words")[0].value.to_pydict()["w"] == ["x", "y"]


def test_a_series_of_numbers_is_an_array(book):
    assert [book.series(f"series/{index}").value[0] for index in range(2)] == [1.0, 2.0]
    for key in ("missing", "pl series"):
        found = [book.series(f"{key}/{index}").value[0] for index in range(3)]
        assert (found[0], found[2]) == (1.0, 3.0)
        assert math.isnan(found[1])


def test_what_cannot_be_a_table_costs_only_itself():
    said = []
    prepared, _ = Snapshot(lambda key, message: said.append((key, message)), put=None).prepare(
        {"t": pd.DataFrame(), "x": 1.0}
    )
    assert prepared == {"x": 1.0}
    assert said == [("t", "'t' was left out: Table: it has no columns")]


@pytest.mark.parametrize(
    ("frame", "kept"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {"a": [1], "a_2": [2]}),
        (pd.DataFrame({"i": [2**70, 1]}), {"i": [str(2**70), "1"]}),
        (pd.DataFrame({"o": ["a", 1]}, index=["x", "y"]), {"o": ["a", "1"], "index": ["x", "y"]}),
        (pd.DataFrame({"d": pd.to_datetime(["2026-01-01", None])}), None),
    ],
)
def test_frames_of_odd_columns_are_tables(frame, kept):
    table = steno.Table(frame)
    raw = b"".join(bytes(part) for part in table.__steno__().parts)
    assert raw
    if kept is not None:
        from steno.media.raw import Raw
        from steno.media.table import from_raw

        assert from_raw(Raw.read(memoryview(raw))).to_pydict() == kept


# -- numbers ------------------------------------------------------------------------------------------------


def test_decimals_and_fractions_are_numbers(book):
    assert book.series("decimal").value.tolist() == [1.5] * 3
    assert book.series("fraction").value.tolist() == [0.25] * 3
    assert book.series("one decimal").value.tolist() == [2.5] * 3
    assert book.series("big").exact.tolist() == [2**70]
    assert book.series("whole").value.tolist() == [3.0]
    assert [book.series(f"list/{index}").value[0] for index in range(2)] == [0.5, 0.5]
    assert [book.series(f"objects/{index}").value[0] for index in range(2)] == [0.5, 2.0]
    assert [book.series(f"decimals/{index}").value[0] for index in range(2)] == [0.5, 1.5]


def test_a_number_that_no_float_is_near_is_refused_aloud(book, said):
    assert not {"far", "complex"} & set(book.keys())
    assert book.series("endless").value.tolist() == [math.inf]
    assert any("'far' was left out" in line and "beyond" in line for line in said.getvalue().splitlines())
    assert "'complex' was left out" in said.getvalue()


def test_enums_paths_sets_and_dataclasses_are_kept_beside_an_array_too(book):
    assert (book.series("colour").exact[0], book.series("path").exact[0]) == ("red", "a/b")
    assert (book.series("two").value[0], book.series("set").value[0]) == (2.0, 3.0)
    assert (book.series("losses/train").value[0], book.series("losses/parts").value[0]) == (0.5, 0.25)
    assert book.series("id").exact[0] == str(uuid.UUID(int=1))


# -- masks --------------------------------------------------------------------------------------------------


def test_statistics_of_a_masked_array_are_of_the_rest(book):
    rest = MASKED.compressed()
    found = {name: book.series(f"masked/{name}").value[0] for name in ("min", "max", "mean", "std")}
    assert found == {"min": 0.0, "max": 18.0, "mean": rest.mean(), "std": rest.std()}
    assert math.isnan(book.series("all/mean").value[0])
    assert book.series("none/max").value[0] == 19.0


def test_a_masked_element_is_nan_where_elements_are_listed(book):
    for key, kept in (("few", [0.0, None, 2.0, None]), ("ints", [1, None, 3]), ("masked list", list(MASKED))):
        for index, element in enumerate(kept):
            (value,) = book.series(f"{key}/{index}").value
            hidden = element is None or element is np.ma.masked
            assert math.isnan(value) if hidden else value == element
    assert math.isnan(book.series("one").value[0])


def test_a_histogram_does_not_count_what_is_masked(book):
    for key in ("histogram", "masked bins"):
        found = book.media(key)[0].value
        assert (sum(found["counts"]), found["outside"], found["max"]) == (10, 0, 18.0)


def test_a_masked_pixel_is_black(book):
    assert book.media("image")[0].value[..., 0].tolist() == [[0, 200], [200, 0]]


def test_other_media_do_not_take_what_a_mask_hides_for_a_value():
    made = steno.Video(np.ma.masked_array(np.full((2, 4, 4), 7.0), mask=np.ones((2, 4, 4))))
    assert "NaN" in made.remark


# -- steps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "step",
    [4, 4.0, np.float32(4), np.float64(4), np.int8(4), np.array(4), np.array(4.0), Decimal("4.0"), Fraction(8, 2),
     -4.0, True, 2.0**62, np.array([4]), np.array([[4.0]]), np.array([4], object), pd.Series([4])],
)  # fmt: skip
def test_a_whole_number_of_any_kind_is_a_step(step):
    said = []
    assert Snapshot(lambda key, message: said.append(message)).step(step) == int(
        step.item() if hasattr(step, "item") else step
    )
    assert said == []


def test_a_whole_number_of_torch_is_a_step():
    torch = pytest.importorskip("torch")
    snapshot = Snapshot(lambda key, message: pytest.fail(message))
    assert [snapshot.step(step) for step in (torch.tensor(4), torch.tensor(4.0), torch.tensor([4]))] == [4] * 3


@pytest.mark.parametrize(
    "step",
    [4.5, "4", b"4", math.nan, math.inf, 1j, [4], Hostile(), object(), 2**63, -(2**63) - 1, 2.0**63, np.uint64(2**63),
     np.array([4.5]), np.array([4, 5]), np.array([]), np.ma.masked_array([3], [True]), Decimal("NaN"), 10**400, pytest.param(10**5000, id="huge"),
     pytest.param(np.array(10**5000, object), id="huge object")],
)  # fmt: skip
def test_any_other_step_is_refused_aloud_and_never_raises(step):
    said = []
    assert Snapshot(lambda key, message: said.append(message)).step(step) is None
    (line,) = said
    assert "numbered automatically" in line
    with pytest.raises(RecordError):
        Snapshot(lambda *_: None, strict=True).step(step)


def test_steps_are_kept_from_the_loop_to_the_reader(tmp_path, monkeypatch):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    run = steno.init("p", "r")
    for step in (1024.0, 2048.0, np.float64(4096.0), np.float32(8192.0), Decimal(16384)):
        run.log({"x": float(step)}, step=step)
    for step in range(2**63, 2**63 + 12):  # like frames, decoded together
        run.log({"y": float(step), "z": 1.0}, step=step)
    run.log({"y": 1.0, "z": 1.0}, step=2**63 - 1)
    with finished(run) as book:
        assert book.series("x").step.tolist() == [1024, 2048, 4096, 8192, 16384]
        assert book.series("y").step.min() > 16384
        assert book.series("y").step.max() == 2**63 - 1
        # The first two were told when they were logged.
        assert sum(loss.count for loss in book.info.losses if loss.name == "step") == 10


@pytest.mark.parametrize("bad", ["1.5", 2.5, None])
def test_whole_says_what_is_none(bad):
    with pytest.raises((TypeError, ValueError)):
        whole(bad)


@pytest.mark.parametrize(
    "value", [deque([1, 2]), range(3), (one for one in [1]), zip([1], [2], strict=True), {1: 2}.values(), iter([1])]
)
def test_what_can_be_gone_through_is_answered_with_list(value):
    said = []
    Snapshot(lambda key, message: said.append(message)).prepare({"x": value})
    assert len(said) == 1
    assert said[0].endswith("log list(x)")


def test_what_is_nested_too_deeply_is_reported_once_not_at_every_level():
    deep, cyclic = {"x": object()}, {}
    cyclic["again"] = cyclic
    for _ in range(20):
        deep = {"a": deep}
    said = []
    snapshot = Snapshot(lambda key, message: said.append(key))
    prepared, _ = snapshot.prepare({"deep": deep, "cyclic": cyclic, "in a list": [deep], "good": 1.0})
    assert len(said) == 3
    assert prepared["good"] == 1.0


# -- what raises when it is looked at -----------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STENO_COLLECTOR", "off")
    with steno.init("p", "r") as made:
        yield made


def test_nothing_that_is_logged_raises_whatever_its_text_does(run):
    class Badly(dict):
        def items(self):
            raise Hostile.Error

    Hostile.Error = type("Error", (Exception,), {"__repr__": Hostile.__repr__, "__str__": Hostile.__repr__})
    run.log({"a": 1.0}, step=Hostile())
    run.log({"a": Hostile(), "b": 1.0})
    run.log(Hostile())
    run.log({Hostile(): 1.0, "c": 1.0})
    run.log({"n": {"deep": [Hostile(), {"x": Hostile()}]}})
    run.log(Badly(a=1.0))
    run.log({"a": 1.0}, level=Hostile(), arrays=Hostile())
    run.event("e", what=Hostile(), step=Hostile())
    run.config.update(a=Hostile())
    run.summary.a = Hostile()
    steno.log({"a": 1.0}, Hostile())


# -- habits of other loggers --------------------------------------------------------------------------------


@pytest.mark.parametrize("log", ["run", "steno"])
def test_another_loggers_argument_is_reported_once_and_the_record_kept(run, capfd, log):
    call = run.log if log == "run" else steno.log
    for number in range(3):
        call({"a": 1.0}, commit=False)
        call({"a": 1.0, "b": 2.0}, number, commit=True)
    said = capfd.readouterr().err
    assert said.count("log has no commit=") == 1
    assert "Did you mean step=" in said
    from run_programs import journals

    assert len([record for journal in journals(run.dir) for record in journal.records]) == 6


def test_the_mode_that_records_nothing_takes_them_too(tmp_path):
    with steno.init("p", "off", dir=tmp_path, mode="off") as off:
        off.log({"a": 1.0}, 1, commit=False)
        steno.log({"a": 1.0}, commit=True)


# -- lists, and what is counted at the end ------------------------------------------------------------------


def test_rows_of_one_length_are_an_array_and_others_are_remarked_upon(tmp_path, monkeypatch, capfd):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    run = steno.init("p", "r")
    for _ in range(3):
        run.log({"even": [[0.0] * 28] * 499 + [[1.0] * 28], "deep": [[[1, 2], [3, 4]]] * 8, "small": [[1, 2], [3, 4]]})
        run.log({"ragged": [[1.0] * (number % 5 + 1) for number in range(400)]})
        run.log({"dicts": [{"a": 1.0, "b": 2.0}] * 60, "n": {"inner": [[1.0], [2.0, 3.0]] * 100}})
    run.log({"bins": [[1.0] * 30] * 2}, arrays="histogram")
    said = capfd.readouterr().err
    assert [said.count(f"{key!r} is a list of lists or dicts") for key in ("ragged", "dicts", "n/inner")] == [1, 1, 1]
    assert "even" not in said
    assert "small" not in said
    with finished(run) as book:
        keys = book.keys()
        assert [key for key in keys if key.startswith("even")] == [
            f"even/{name}" for name in ("max", "mean", "min", "std")
        ]
        assert book.series("even/mean").value[0] == pytest.approx(1 / 500)
        assert book.series("deep/max").value[0] == 4
        assert [key for key in keys if key.startswith("small")] == [
            f"small/{row}/{column}" for row in "01" for column in "01"
        ]
        assert 1000 <= len([key for key in keys if key.startswith("ragged")]) <= 1030
        assert book.media("bins")[0].value["counts"]
        (loss,) = book.info.losses
        assert (loss.name, loss.count) == ("ragged", 3)
        assert "of 400 elements are kept" in loss.reason


def test_what_could_not_be_recorded_is_counted_in_one_line_at_the_end(tmp_path, monkeypatch, capfd):
    no_launcher(monkeypatch)
    monkeypatch.chdir(tmp_path)
    run = steno.init("p", "r")
    for number in range(30):
        run.log({"loss": None if number % 3 == 0 else 1.0, "acc": None if number == 7 else 0.5}, step=number)
        run.log({"alone": None, "x": 1.0})
        run.log({"empty": [], "array": np.array(1.0), "none": None})
    assert "could not be recorded" not in capfd.readouterr().err
    with finished(run) as book:
        line = capfd.readouterr().err
        assert line.count("could not be recorded") == 1
        assert "71 values that the run 'r' logged could not be recorded" in line
        assert "'alone' 30 times (None has no value), 'none' 30 times (None has no value), 'loss' 10 times" in line
        assert "and of 1 more keys" in line
        assert {loss.name: loss.count for loss in book.info.losses} == {"loss": 10, "acc": 1, "alone": 30, "none": 30}
        assert len(book.series("loss").value) == 20
    run = steno.init("p", "r", resume=True)
    run.log({"loss": 1.0})
    assert run.finish(60)
    assert "could not be recorded" not in capfd.readouterr().err
