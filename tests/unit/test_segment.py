"""A segment: its end is final, its room is real, and around a fork only its owner writes."""

from __future__ import annotations

import errno
import os

import crc32c
import pytest
from journal_language import Book, Reading

from steno.journal import format as fmt
from steno.journal.guard import OwnerOnly
from steno.journal.segment import Segment

pytestmark = pytest.mark.usefixtures("road")


def frame(segment, seq):
    """A record's frame, as a thread has it ready when it is about to write."""
    body = (
        b"\x94\xcf" + (1).to_bytes(8, "big") + b"\xcf" + seq.to_bytes(8, "big") + b"\x81\xa1x\xcb" + bytes(8) + b"\xc0"
    )
    return fmt.FRAME.pack(len(body), crc32c.crc32c(body, segment.nonce)) + body


class Raced:
    """Stands for a segment's map: a thread writes a frame before and after each step that is made on it."""

    def __init__(self, segment, moments):
        self.map = segment.map
        self.segment = segment
        self.moments = moments
        self.moment = 0
        self.taken = []
        self.refused = 0

    def race(self):
        moment, self.moment = self.moment, self.moment + 1
        if moment in self.moments:
            self.write(moment)

    def write(self, seq):
        try:
            self.map.write(frame(self.segment, seq))
            self.taken.append(seq)
        except ValueError:
            self.refused += 1

    def between(self, call, *arguments):
        self.race()
        try:
            return call(*arguments)
        finally:
            self.race()

    def tell(self):
        return self.between(self.map.tell)

    def seek(self, at):
        return self.between(self.map.seek, at)

    def __getitem__(self, where):
        return self.between(self.map.__getitem__, where)

    def __setitem__(self, where, what):
        return self.between(self.map.__setitem__, where, what)


@pytest.mark.parametrize("moments", [{0}, {1}, {2}, {3}, {4}, {5}, {6}, {7}, {1, 2}, set(range(100))], ids=str)
def test_whenever_a_thread_writes_while_a_segment_is_sealed_its_frame_is_before_the_end_or_refused(tmp_path, moments):
    book = Book(tmp_path)
    book.log({"x": 1.0}, 0)
    segment = book.segments[0]
    before = segment.tell()
    raced = segment.map = Raced(segment, moments)

    end = segment.seal()
    for seq in (1000, 1001):
        raced.write(seq)

    assert raced.refused >= 2
    assert end == segment.end == before + len(raced.taken) * len(frame(segment, 0))
    assert book.frames()[-1][1] == end
    reading = Reading(segment.path, live=True)
    assert reading.seqs[1:] == raced.taken
    assert reading.drained
    segment.map = raced.map
    book.close()


def test_a_disk_that_has_no_room_is_an_error_when_the_segment_is_made(tmp_path, monkeypatch):
    """Not a SIGBUS at somebody's record, as with a file that is only said to be so long."""

    def full(fd, offset, length):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    identity = fmt.SegmentIdentity(nonce=1, size=1 << 20, number=0, stream="s", mono=1, wall=1, pid=os.getpid())
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        Segment(tmp_path / "000000.seg", identity)

    assert list(tmp_path.iterdir()) == []


def test_around_a_fork_the_child_writes_nothing_and_the_parent_goes_on():
    written, strayed = [], []
    guard = OwnerOnly(lambda: strayed.append(os.getpid()), written.append)
    guard(b"parent's")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            guard(b"child's")
        except ValueError:
            status = 0 if (written, strayed) == ([b"parent's"], [os.getpid()]) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    guard(b"parent's")
    assert (written, strayed) == ([b"parent's", b"parent's"], [])
