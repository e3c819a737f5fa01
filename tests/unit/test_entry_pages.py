"""Entries by pages: the same as all of them, wherever a page begins; the last of a million cost what they are."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import steno
from steno.store import entrypages

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A live run that was ended before, with entries in parts and some in none."""
    place = str(tmp_path_factory.mktemp("runs"))
    for part in range(3):
        run = steno.init(project="p", name="r", dir=place, resume="allow")
        entry = run._started.recorder.entry
        for at in range(9000):
            entry("output", {"stream": "stdout", "text": f"\x1b[3{at % 8}mline\x1b[0m {part * 9000 + at}"})
            if at % 1000 == 0:
                run.event("epoch", number=at, name_="<b>É</b>")
        assert run.flush(60)
        if part < 2:
            assert run.finish(60)
    assert list(run.dir.glob("records/*.parquet"))
    yield run
    run.finish(60)


@pytest.fixture(scope="module")
def reader(run):
    with steno.open(run.dir) as reader:
        yield reader


@pytest.fixture(scope="module")
def every(reader):
    """Gives all entries; a list of so many has a long text that no report should hold."""
    found = reader.records()
    return lambda: found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    kind=st.sampled_from([None, "output", "event", "start", "none"]),
    rank=st.sampled_from([None, 0, 1]),
    match=st.sampled_from(["", "line 1", "LINE 26999", "<b>é", "'", '"', "\\", "%", "no such"]),
    offset=st.integers(-30_000, 30_000),
    limit=st.integers(0, 12_000),
)
def test_a_page_is_a_piece_of_the_list(reader, every, kind, rank, match, offset, limit):
    wanted = entrypages.EntryFilter(kind, rank, match)
    page = reader.entry_page(kind, rank=rank, match=match, offset=offset, limit=limit)
    assert page == entrypages.page_of(every(), wanted, offset, limit)


def test_the_pages_one_after_the_other_are_the_list(reader, every):
    found = []
    while page := reader.entry_page(offset=len(found), limit=5000).entries:
        found += page
    assert found == every()


def test_a_line_is_searched_without_its_colours_and_keeps_its_number(reader):
    page = reader.entry_page("output", match="LINE 12345")
    assert (page.total, page.numbers) == (1, [12345])
    assert page.entries[0].payload["text"].endswith(" 12345")
    assert reader.entry_page("output", match="[0m").total == 0


def test_a_page_at_the_end_reads_no_line_before_it(reader, monkeypatch):
    import pyarrow.parquet as pq

    read = []
    real = pq.ParquetFile.read_row_groups

    def watched(self, groups, *args, **options):
        read.extend(groups)
        return real(self, groups, *args, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", watched)
    assert len(reader.entry_page("output", offset=-1000).entries) == 1000
    assert len(read) <= 3


def test_the_numbers_of_kinds_are_told(reader, every):
    kinds = reader.entry_page(limit=1).kinds
    assert kinds["output"] == 27_000
    assert kinds == {kind: sum(one.kind == kind for one in every()) for kind in kinds}


def test_a_damaged_part_costs_its_own_entries(run, tmp_path):
    copy = tmp_path / "r"
    shutil.copytree(run.dir, copy)
    parts = sorted((copy / "records").glob("*.parquet"))
    content = bytearray(parts[0].read_bytes())
    content[4 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4)
    parts[0].write_bytes(content)
    with steno.open(copy) as reader:
        with pytest.warns(RuntimeWarning, match="damaged"):
            total = reader.entry_page("output").total
        assert reader.entry_page("output", offset=-10).total == total < 27_000


@pytest.mark.parametrize("name", ["format-1", "format-2"])
def test_runs_of_every_format_are_read(tmp_path, name):
    if name == "format-1":
        with tarfile.open(GOLDEN / "format-1.tar.xz") as archive:
            archive.extractall(tmp_path, filter="data")
    else:
        shutil.copytree(GOLDEN / name, tmp_path / name)
    runs = [path.parent for path in tmp_path.rglob("run.json")]
    assert runs
    for place in runs:
        with steno.open(place) as reader:
            every = reader.records()
            assert reader.entry_page(limit=10_000).entries == every[:10_000]
