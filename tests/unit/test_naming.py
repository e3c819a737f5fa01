"""Names are single directories; derived ones are the same in all processes of a job."""

from __future__ import annotations

import re

import pytest

from steno import names
from steno.capture.start import naming
from steno.capture.start.launcher import Launch
from steno.errors import UsageError


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "a/b",
        "..",
        "../x",
        "/..",
        ".hidden",
        "a\\b",
        "a\nb",
        "a\0b",
        "a\x7f",
        " a",
        "a ",
        "x" * 201,
        "é" * 101,
        "\u202e",
    ],
)
def test_a_name_that_could_be_a_path_or_hide_something_is_refused_with_the_remedy(name):
    with pytest.raises(UsageError, match=r"run name .* cannot be used: .*Use letters"):
        names.check(name)


@pytest.mark.parametrize("name", ["a", "digits-lr3e-4", "run 7", "é", "試験", "a..b", "x" * 200])
def test_other_names_are_kept(name):
    assert names.check(name) == name


def test_what_is_no_string_is_refused():
    with pytest.raises(UsageError, match="must be a string, not int"):
        names.check(7)


def test_a_fresh_name_has_time_and_two_words():
    assert re.fullmatch(r"\d{8}-\d{6}-[a-z]+-[a-z]+", naming.fresh())


def test_words_have_no_duplicates():
    assert len(set(naming._ADJECTIVES)) == len(naming._ADJECTIVES)
    assert len(set(naming._NOUNS)) == len(naming._NOUNS)


def test_a_job_gives_each_of_its_processes_the_same_name_and_another_job_another():
    jobs = ["slurm:77.0", "torchrun:n:1:2", "torchrun:../../x", "mpi:a/b", "jax:h:1"]
    found = [naming.of_job(Launch(job=job, rank=rank)) for job in jobs for rank in (0, 5)]
    assert found[::2] == found[1::2]
    assert len(set(found)) == len(jobs)
    for name in found:
        assert names.check(name) == name
    assert found[0] == "slurm-77-0"


def test_ids_are_unique_and_sort_by_time():
    ids = [naming.new_id() for _ in range(100)]
    assert len(set(ids)) == 100
    assert all(re.fullmatch("[0-9A-HJKMNP-TV-Z]{26}", one) for one in ids)
    assert [one[:10] for one in ids] == sorted(one[:10] for one in ids)
