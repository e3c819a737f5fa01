"""Rules that one changed line would break, and the tests that must notice: each is broken in turn, in a copy of the tree.

scripts/mutate            # all
scripts/mutate seal key   # those whose rule or file has one of the words
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__", "shared"
)
_LIMIT_SECS = 1800
"""For all tests on the whole tree. On a broken one they have five times as long as that took: more is a hang."""


@dataclass(frozen=True)
class Mutation:
    """`line` of a file, which stands there once, becomes `broken`: one of the tests has to fail."""

    rule: str
    file: str
    line: str
    broken: str
    tests: tuple[str, ...]


def rule(text: str, file: str, line: str, broken: str, *tests: str) -> Mutation:
    return Mutation(text, f"src/steno/{file}", line, broken, tuple(f"tests/{test}" for test in tests))


SEALED = "unit/test_segment.py::test_whenever_a_thread_writes_while_a_segment_is_sealed_its_frame_is_before_the_end_or_refused"
BEYOND = "unit/test_columns.py::test_a_step_beyond_64_bits_is_numbered_automatically_and_said_whatever_is_about_it"
EARLY = "unit/test_collector_journals.py::test_a_segment_that_appears_after_the_one_behind_it_is_read_before_it"
LAGS = (
    "unit/test_collector_journals.py::"
    "test_while_one_process_lags_nothing_of_another_is_posted_before_what_it_logged_earlier"
)
REWOUND = "unit/test_post.py::test_a_new_attempt_rewinds_a_writers_counters_too"
PART_FIRST = "unit/test_durable_order.py::test_a_part_is_on_the_disk_with_its_name_before_its_batches_leave_the_ledger"
BINS = "unit/test_durable_order.py::test_bins_are_those_of_their_part_or_made_anew_whatever_a_power_loss_leaves"
HELD = "unit/test_roll_seen.py::test_full_segments_whose_files_somebody_removes_are_not_posted_but_written_again"
FOREIGN = "unit/test_collector.py::test_a_destination_with_foreign_code_has_a_process_of_its_own"

MUTATIONS = [
    # -- the journal
    rule(
        "a sealed segment takes no more frames",
        "journal/segment.py", "        self.map.seek(self.size)\n", "        pass\n", SEALED,
    ),
    rule(
        "a frame written while a segment is sealed is before its end",
        "journal/segment.py", "self.end = end = self._written(end)", "self.end = end", SEALED,
    ),
    rule(
        "a full disk is an error, not a SIGBUS",
        "journal/segment.py", "os.posix_fallocate(fd, 0, self.size)", "os.ftruncate(fd, self.size)",
        "unit/test_segment.py::test_a_disk_that_has_no_room_is_an_error_when_the_segment_is_made",
    ),
    rule(
        "around a fork only the owner writes",
        "journal/guard.py", "if os.getpid() != self._pid:", "if False:",
        "unit/test_segment.py::test_around_a_fork_the_child_writes_nothing_and_the_parent_goes_on",
    ),
    rule(
        "a step beyond 64 bits in a whole reading of like frames",
        "journal/like_frames.py", "{NIL, FIXPOS, FIXNEG, *_INTS} - {0xCF}:", "{NIL, FIXPOS, FIXNEG, *_INTS}:", BEYOND,
    ),
    rule(
        "a step beyond 64 bits amid other frames",
        "journal/columns.py", "        if beyond.any():\n", "        if False:\n", BEYOND,
    ),
    rule(
        "the last step of 64 bits is one",
        "journal/columns.py", "beyond = steps > np.uint64(2**63 - 1)", "beyond = steps >= np.uint64(2**63 - 1)", BEYOND,
    ),
    rule(
        "like frames are of one length",
        "journal/columns.py", " or (lengths != length).any():", ":",
        "unit/test_columns.py::test_frames_of_other_lengths_are_not_taken_for_like_ones",
    ),
    rule(
        "a layout is for frames of its length",
        "journal/like_frames.py", "        if frames.length != self.length:\n", "        if False:\n",
        "unit/test_columns.py::test_frames_that_go_on_behind_their_step_are_no_records",
    ),
    rule(
        "what waits in memory for a disk has a bound",
        "journal/frames.py", "if self.backlog_bytes + len(frame) > _BACKLOG_BYTES:", "if False:",
        "unit/test_journal.py::test_memory_without_a_segment_has_a_bound_and_counts",
    ),
    rule(
        "a segment that is being left is waited for",
        "journal/frames.py", "            self._leaving, self.current = old, None\n", "            self.current = None\n",
        "unit/test_roll_seen.py::test_a_flush_while_a_segment_is_left_waits_for_it",
    ),
    rule(
        "no later segment is used while a roll fetches one",
        "journal/frames.py", "while self.waiting and not self._rolling and not self.sealed:", "while self.waiting and not self.sealed:",
        "unit/test_roll_seen.py::test_while_a_handler_interrupts_a_roll_nothing_is_written_behind_the_segment_that_it_fetches",
    ),
    rule(
        "a segment fetched as recording ends is not used",
        "journal/frames.py", "if not self.backlog and not self.sealed:", "if not self.backlog:",
        "unit/test_roll_seen.py::test_a_segment_fetched_as_recording_ends_is_not_taken_into_use",
    ),
    rule(
        "a live head that looks torn is waited for",
        "journal/tailer.py", "if now - self._torn_since < _STUCK_SECS:", "if False:",
        "unit/test_journal_torn.py::test_a_live_writer_past_a_damaged_frame_is_followed",
    ),
    rule(
        "an integer of more than 64 bits is kept by its digits",
        "capture/exact.py", "_BIG: Final = (-(2**63), 2**64)", "_BIG: Final = (-(2**63), 2**64 + 1)",
        "unit/test_journal.py::test_kinds_may_change_from_record_to_record",
    ),
    rule(
        "the attempt of another machine that begins is waited for",
        "capture/start/attempt.py", "time.time() - latest[0].started > _BIRTH_SECS:", "True:",
        "unit/test_run_settle.py::test_the_attempt_of_another_machine_that_has_not_begun_is_live",
    ),
    # -- reading and posting
    rule(
        "slices of a segment follow each other",
        "ledger/post.py", "            if piece.start > posted:\n", "            if False:\n",
        "unit/test_post.py::test_a_slice_behind_a_gap_is_refused_and_changes_nothing",
    ),
    rule(
        "a late value whose record is not known is counted",
        "ledger/holes.py", """lose("orphan fill", where[0], 1, "a late value whose record is not known")""", "pass",
        "unit/test_post.py::test_a_fill_of_an_unknown_record_is_counted",
    ),
    rule(
        "samples go on from a rewind",
        "ledger/post.py", "                    self._reached = 0\n", "",
        "unit/test_system_metrics.py::test_after_a_rewind_samples_go_on_from_there",
    ),
    rule(
        "who lags behind is read first, and holds the others back",
        "collector/roster.py", "key=lambda journal: (not journal.lags, journal.last_mono))", "key=lambda journal: 0)", LAGS,
    ),
    rule(
        "one that was read to its end does not lag, however old its last record is",
        "collector/roster.py", "key=lambda journal: (not journal.lags, journal.last_mono))",
        "key=lambda journal: journal.last_mono)", LAGS,
    ),
    rule(
        "a segment that appears after the one behind it is read before it",
        "collector/journals.py", "if self._is_early(tailer, nothing_missing=is_passed_over or not is_unused):", "if False:", EARLY,
    ),
    rule(
        "whether a segment is used is not asked a second time after what comes before it was looked for",
        "collector/journals.py", "            if is_unused:\n", "            if tailer.untouched and self._is_open:\n", EARLY,
    ),
    rule(
        "what comes before a segment that is used is looked for after it was seen to be used",
        "collector/journals.py",
        "        self._numbers = sorted(segments(self.found.dir))  # after the look at this one\n", "", EARLY,
    ),
    rule(
        "a writer that cannot be asked for is not taken for dead",
        "host.py", "        if error.errno in _NO_LOCK:\n", "        if error.errno:\n",
        "unit/test_no_answer.py::test_a_writer_that_cannot_be_asked_for_is_not_taken_for_dead",
    ),
    rule(
        "what cannot be listed is not taken for empty",
        "files.py", "if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM}:", "if error.errno:",
        "unit/test_no_answer.py::test_journals_that_cannot_be_listed_are_looked_for_again",
    ),
    rule(
        "offsets of segments that could not be removed stay",
        "collector/journals.py", "            if segments(self.found.dir):\n", "            if False:\n",
        "unit/test_no_answer.py::test_offsets_of_segments_that_cannot_be_removed_stay",
    ),
    rule(
        "who begins to record while the machinery is taken away has it back",
        "machinery.py", "    if not _drop_journal(gone):\n", "    if False:\n",
        "unit/test_put_away.py::test_a_writer_that_begins_while_the_machinery_is_taken_away_loses_nothing",
    ),
    rule(
        "a journal that comes in the same tick as one that was seen is found",
        "collector/roster.py",
        "            if now - self._changed_at >= _TICK_SECS or not self.has_new():\n                return False\n", "            return False\n",
        "unit/test_collector_journals.py::test_a_journal_that_comes_in_the_same_tick_as_one_that_was_seen_is_found",
    ),
    rule(
        "a large record whose file cannot be opened is read later",
        "journal/tailer.py", "            if error.errno in _PASSING:\n", "            if False:\n",
        "unit/test_no_answer.py::test_a_large_record_whose_file_cannot_be_opened_is_read_later",
    ),
    rule(
        "a segment goes only once the posting that took it is synced",
        "collector/journals.py", "gone = [number for number, at in self.retired if at <= synced]",
        "gone = [number for number, at in self.retired]",
        "unit/test_durable_order.py::test_a_segment_is_removed_once_the_posting_that_took_it_is_synced",
    ),
    rule(
        "a segment's offset is forgotten only once its removal is on the disk",
        "collector/journals.py", "            files.sync_dir(self.found.dir)\n", "            pass\n",
        "unit/test_durable_order.py::test_a_segments_offset_is_forgotten_once_its_removal_is_on_the_disk",
    ),
    rule(
        "a rewind takes back writers' counters that were met",
        "ledger/post.py",
        'execute("delete from counters where instr(name, ?) and not instr(scope, ?)", steps.OF_OTHERS)', "pass", REWOUND,
    ),
    rule(
        "a rewind is where counters of keys that come later begin",
        "ledger/post.py", "{steps.RUN: rewind, steps.SEED: rewind}", "{steps.RUN: rewind}", REWOUND,
    ),
    rule(
        "a rewind holds for the poster at work too",
        "ledger/post.py", "        finally:\n            self._counters.clear()\n", "        finally:\n            pass\n", REWOUND,
    ),
    # -- sealing
    rule(
        "a part is on the disk before its rows leave the ledger",
        "ledger/parts.py", "    files.sync_file(path)\n    return len(points.value)", "    return len(points.value)", PART_FIRST,
    ),
    rule(
        "a part's name is on the disk before its rows leave the ledger",
        "ledger/seal.py", "        files.sync_dir(place)\n", "        pass\n", PART_FIRST,
    ),
    rule(
        "a part tells what all older ones took",
        "ledger/seal.py", "batches, took = [], self._took_before()", "batches, took = [], {}",
        "unit/test_seal.py::test_after_a_lost_ledger_a_quiet_stream_is_not_posted_twice",
        "unit/test_seal.py::test_what_older_parts_took_is_kept_through_two_lost_ledgers_and_as_long_as_the_segment_is_there",
    ),
    rule(
        "what was taken of segments that are gone is forgotten",
        "ledger/seal.py", "for key, end in old.items() if key in live}", "for key, end in old.items()}",
        "unit/test_seal.py::test_what_older_parts_took_is_kept_through_two_lost_ledgers_and_as_long_as_the_segment_is_there",
    ),
    rule(
        "what a lost ledger had taken is remembered by the one after it",
        "ledger/seal.py", """    execute("insert or replace into meta values('took', ?)", (json.dumps(took),))\n""", "",
        "unit/test_seal.py::test_what_older_parts_took_is_kept_through_two_lost_ledgers_and_as_long_as_the_segment_is_there",
    ),
    rule(
        "no key gets the id of another",
        "ledger/seal.py", " and id < (select max(id) from keys)", "",
        "unit/test_seal.py::test_no_key_gets_the_id_of_another_after_the_end",
    ),
    rule(
        "a damaged part is not merged",
        "ledger/seal.py",
        "            if part.crc and verify.differing(self.run_dir / part.name, part.crc):\n                # Merged",
        "            if False:\n                # Merged",
        "unit/test_damage.py::test_a_damaged_part_is_not_merged",
    ),
    # -- reading
    rule(
        "a ledger that was opened as one that does not change is looked at again",
        "ledger/opened.py", 'if "immutable" not in mode or not wal.exists():', "if True:",
        "unit/test_seal.py::test_a_reader_that_opens_a_ledger_as_a_collector_comes_sees_what_it_posts",
    ),
    rule(
        "a reader makes no -wal next to a ledger that nobody has open",
        "ledger/opened.py", "            if _is_wal(path):\n", "            if False:\n",
        "unit/test_seal.py::test_a_reader_leaves_no_file_behind",
    ),
    # -- delivery and the end
    rule(
        "the cursor moves when the destination has the batch",
        "delivery/courier.py", "        taken, given_up = (0, []) if batch is None", """\
        self.save(dataclasses.replace(self.progress, batch=self._reached[0]))
        taken, given_up = (0, []) if batch is None""",
        "unit/test_courier.py::test_a_cursor_is_saved_behind_what_the_destination_has_and_never_before",
    ),
    rule(
        "what a file has already is not written again",
        "destinations/file.py", "            view = view[len(have) :]\n", "",
        "unit/test_destination_file.py::test_retry_without_commit_writes_nothing_twice",
    ),
    rule(
        "what was delivered is flushed before the destination is closed",
        "delivery/courier.py", '("flush", self._flush_now), ', "",
        "unit/test_delivery.py::test_what_was_delivered_is_flushed_before_the_end",
    ),
    rule(
        "finish waits for what destination objects log at their ends",
        "capture/ending.py", "                self.posted, self._stored, self.delivered, self.encoded,\n",
        "                self._stored, self.delivered, self.encoded,\n",
        "unit/test_run_finish.py::test_finish_is_false_while_what_a_destination_object_logged_at_its_end_is_not_posted",
    ),
    # -- bins
    rule(
        "bins are an answer of the part alone that they were made of",
        "store/binfiles.py", "return file if of == (", "return file if of and (",
        "unit/test_store_bins.py::test_bins_that_are_damaged_answer_for_nothing_and_are_made_anew",
    ),
    rule(
        "bins are removed with their part",
        "ledger/seal.py", "files.unlink(self.run_dir / name_of(part.name), missing_ok=True)", "pass", BINS,
    ),
    # -- what nobody takes for done, or for there
    rule(
        "full segments that wait are held until they are posted",
        "capture/posting.py", "                retired.hold()\n", "                retired.close()\n", HELD,
    ),
    rule(
        "a collector may be at the file of a segment that was removed and written again",
        "journal/segment.py", "for one in (self.map, *self._removed))", "for one in (self.map,))", HELD,
    ),
    rule(
        "a loss is noted in the transaction that leaves its numbers out",
        "ledger/post.py", "self._own = [*own, Own(NOTE, note)]", "self._own = own",
        "unit/test_lost_ledger.py::"
        "test_whenever_a_collector_dies_as_it_finds_a_loss_the_next_one_tells_it_once_and_nobody_waits",
    ),
    rule(
        "a fork of a process that has joined the run waits for the collector",
        "capture/start/watchdog.py",
        "        if self.enabled and not self.given_up:\n", "        if self._process is not None:\n",
        "unit/test_fork_warning.py::"
        "test_a_fork_of_a_process_that_has_joined_waits_for_the_collector_that_another_one_starts",
    ),
    rule(
        "nobody begins to record into a run while it is removed",
        "store/removal.py", "    with _quiet(run_dir), _alone(run_dir):\n", "    with _quiet(run_dir):\n",
        "unit/test_removal.py::test_who_resumes_a_run_while_it_is_removed_finds_none_and_records_nowhere",
    ),
    rule(
        "nothing is put away while sync adds to it",
        "catchup.py", "stack.enter_context(runfile.alone(run_dir))", "pass",
        "unit/test_put_away.py::"
        "test_a_destination_that_is_added_while_the_machinery_is_taken_away_gets_the_run",
    ),
    rule(
        "a process that a destination leaves behind does not stand for it",
        "collector/child.py", "receiver.join(_DRAIN_SECS)", "receiver.join()", FOREIGN,
    ),
    rule(
        "a destination that has everything is not opened again",
        "collector/child.py", "            if not self._is_wanted:\n", "            if False:\n", FOREIGN,
    ),
    rule(
        "whether something was removed is asked at the end",
        "capture/upkeep.py", "            self._look_at_ledger()\n", "            pass\n",
        "unit/test_cleaners.py::"
        "test_whether_something_is_lost_is_asked_at_the_end_and_not_known_from_the_last_look",
    ),
]  # fmt: skip


def _apply(tree: Path, mutation: Mutation, turn: int) -> str:
    """Break the line; returns the text before it was broken."""
    path = tree / mutation.file
    text = path.read_text()
    if text.count(mutation.line) != 1:
        sys.exit(
            f"{mutation.file} has {text.count(mutation.line)} times the line {mutation.line!r}: put right {__file__}"
        )
    _write(path, text.replace(mutation.line, mutation.broken), turn)
    return text


def _write(path: Path, text: str, turn: int) -> None:
    path.write_text(text)
    # A time of its own, so that what was compiled of the file before is not taken for it.
    stamp = time.time() + 10 * turn
    os.utime(path, (stamp, stamp))


def _run(tree: Path, tests: tuple[str, ...], limit_secs: float = _LIMIT_SECS) -> tuple[int, str]:
    """The exit status of pytest, 0 when all pass, 1 when one fails, and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=limit_secs, check=False
        )
    except subprocess.TimeoutExpired:
        return 1, f"not done in {limit_secs:.0f} s"
    return done.returncode, done.stdout + done.stderr


def _noticing(printed: str) -> str:
    """The test that failed first; what was printed where none says so."""
    found = re.search(r"^(?:FAILED|ERROR) tests/(\S+?)(?:\[|\s|$)", printed, re.MULTILINE)
    return f"`{found[1].rpartition('/')[2]}`" if found else (printed.strip().splitlines() or ["?"])[-1]


def main(words: list[str]) -> int:
    """Print a table; 0 when each broken rule was noticed, and the tests pass without."""
    chosen = [one for one in MUTATIONS if not words or any(word in f"{one.rule} {one.file}" for word in words)]
    with tempfile.TemporaryDirectory(prefix="steno-mutate-") as place:
        tree = Path(place) / "tree"
        shutil.copytree(ROOT, tree, ignore=_LEFT_OUT)
        whole = tuple(dict.fromkeys(test for one in chosen for test in one.tests))
        began = time.monotonic()
        status, printed = _run(tree, whole)
        limit_secs = 5 * (time.monotonic() - began) + 60
        if status != 0:
            print(f"{printed}\nThe tests fail without any broken line.")
            return 1
        print("| rule | broken line | test that notices it |\n|---|---|---|")
        survived = 0
        for turn, one in enumerate(chosen):
            text = _apply(tree, one, 2 * turn + 1)
            status, printed = _run(tree, one.tests, limit_secs)
            noticed = status == 1
            _write(tree / one.file, text, 2 * turn + 2)
            survived += not noticed
            line = " ".join(one.line.split()).replace("|", "\\|")
            named = _noticing(printed) if noticed else "**none**"
            print(f"| {one.rule} | `{one.file.removeprefix('src/steno/')}`: `{line}` | {named} |", flush=True)
    print(f"\n{len(chosen)} rules broken, {survived} not noticed")
    return 1 if survived or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
