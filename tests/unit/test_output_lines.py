"""Printed text to lines, as a terminal would leave them."""

from __future__ import annotations

import io
import random

import pytest
import tqdm
from hypothesis import given, settings
from hypothesis import strategies as st

from steno.capture.output.lines import LONGEST, Lines, OutputLine


def lines_of(*pieces):
    lines = Lines()
    found = [line for piece in pieces for line in lines.feed(piece)]
    return [line.text for line in [*found, *lines.rest()]]


@given(st.lists(st.text(st.characters(exclude_characters="\r\x1b"), max_size=20), max_size=8), st.integers(0, 99))
@settings(max_examples=200, deadline=None)
def test_plain_text_is_split_at_newlines_however_it_is_cut(texts, seed):
    whole, generator = "\n".join(texts), random.Random(seed)
    cuts = sorted(generator.randrange(len(whole) + 1) for _ in range(5))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    assert lines_of(*pieces) == (whole.split("\n") if whole and whole[-1] != "\n" else whole.split("\n")[:-1])


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        (["one\r\ntwo\r", "\n"], ["one", "two"]),
        (["\r 0%", "\r 50%", "\r100%\n", "done\n"], ["100%", "done"]),
        (["\r 0%", "\r 50%"], [" 50%"]),
        (["\r 50%", "\r    ", "\r", "next\n"], ["next"]),
        (["\r 50%\r     \r\n", "next\n"], ["next"]),
        (["a\n\nb\n"], ["a", "", "b"]),
        (["\x1b[31mred\x1b[0m\n"], ["\x1b[31mred\x1b[0m"]),
        (["\x1b[A\x1b[99999999999A up\n", "plain\n"], [" up", "plain"]),
    ],
)
def test_carriage_returns_draw_over(pieces, found):
    assert lines_of(*pieces) == found


def test_bars_below_each_other_do_not_come_out_at_every_drawing():
    class Ear(io.StringIO):
        lines = Lines()
        found: list[str] = []

        def write(self, text):
            self.found += [line.text for line in self.lines.feed(text)]
            return len(text)

    ear = Ear()
    for _ in tqdm.tqdm(range(3), desc="outer", file=ear, mininterval=0):
        for _ in tqdm.tqdm(range(50), desc="inner", file=ear, mininterval=0, leave=False):
            pass
    ear.write("done\n")

    assert len(ear.found) == 3, ear.found
    assert ear.found[0].startswith("outer:   0%")
    assert ear.found[1].startswith("outer: 100%")
    assert ear.found[2] == "done"


def test_endless_lines_are_cut_and_counted():
    lines = Lines()
    for _ in range(100):
        assert lines.feed("x" * 1000) == []
    assert lines.feed("\nshort\n" + "y" * (LONGEST + 7) + "\n") == [
        OutputLine("x" * LONGEST, 100_000 - LONGEST),
        OutputLine("short"),
        OutputLine("y" * LONGEST, 7),
    ]


@given(st.lists(st.sampled_from(["a", "b\n", "\n", "\r", "\x1b[A", "\x1b[3A", "\x1b[m"]), max_size=60))
@settings(max_examples=200, deadline=None)
def test_nothing_a_program_writes_breaks_it(pieces):
    lines_of(*pieces)
