"""Charts in the terminal: whatever the values are, a chart or a clear line comes out."""

from __future__ import annotations

import re

import numpy as np
import pytest

from steno.cli.chart import MAX_LINES, ChartLine, draw


def line(values, label="rank 0"):
    return ChartLine(label, np.arange(len(values), dtype=np.int64), np.array(values, np.float64))


def braille(text):
    return [character for character in text if "\u2801" <= character <= "\u28ff"]


def test_a_line_per_rank_with_title_and_legend():
    text = draw("train/loss", [line([3, 2, 1], "rank 0"), line([3, 2.5, 2], "rank 1")], width=80, color=True)
    assert "train/loss" in text
    assert "rank 0" in text
    assert "rank 1" in text
    assert "3" in text
    assert braille(text)
    assert max(map(len, re.sub(r"\x1b\[[\d;]*m", "", text).splitlines())) <= 80


def test_lines_without_colour_have_marks_and_the_legend_hides_none_of_them():
    text = draw("train/loss", [line([3, 2, 1], "rank 0"), line([3, 2.5, 2], "rank 1")], width=80, color=False)
    assert "\x1b" not in text
    assert text.isascii() or "x rank 0  + rank 1" in text
    *plot, legend = text.splitlines()
    assert legend.strip() == "x rank 0  + rank 1"
    assert not any("rank" in row for row in plot)
    assert any("x" in row for row in plot[2:-2])
    assert any("+" in row for row in plot[2:-2])


def test_a_legend_of_many_long_names_is_broken_to_the_width():
    lines = [line([number, 1], f"a-rather-long-name-of-a-run-{number}") for number in range(MAX_LINES)]
    text = draw("loss", lines, width=80, color=False)
    for number in range(MAX_LINES):
        assert f"a-rather-long-name-of-a-run-{number}" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_single_line_needs_no_legend():
    assert "rank 0" not in draw("loss", [line([3, 2, 1])], width=80, color=False)


@pytest.mark.parametrize(
    "values",
    [[1.0], [5.0, 5.0], [1e300, -1e300], [-1.7e308, 1.7e308], [5e-324, 0.0], [1.0, np.nan, 2.0], [np.inf, 1.0, 2.0]],
)
def test_extreme_values_are_drawn(values):
    assert braille(draw("loss", [line(values)], width=60, color=False))


def test_labels_tell_the_largest_and_smallest_value():
    text = draw("loss", [line([1e300, -2e300])], width=60, color=False)
    assert "1e+300" in text
    assert "-2e+300" in text


def test_values_that_cannot_be_drawn_are_counted():
    text = draw("loss", [line([1.0, np.nan, np.inf, 2.0])], width=60, color=False)
    assert "2 values" in text
    assert draw("loss", [line([np.nan])]) == "loss: nothing to draw (1 values that are NaN or infinite are not drawn)"
    assert draw("loss", []) == "loss: nothing to draw"


def test_more_lines_than_colours_are_said():
    text = draw("loss", [line([0, rank], f"rank {rank}") for rank in range(MAX_LINES + 3)], width=80, color=False)
    assert "3 more lines" in text
    assert f"rank {MAX_LINES}" not in text


def test_steps_label_the_x_axis():
    series = ChartLine("rank 0", np.array([1000, 2000], np.int64), np.array([1.0, 2.0]))
    text = draw("loss", [series], width=60, color=False)
    assert "1000" in text
    assert "2000" in text
