"""How long an uploader rests between two looks: readers are owed what no part has."""

from __future__ import annotations

import math

import steno
from nodes import node_dir, node_of
from steno.collector.uploads import generations
from steno.collector.uploads.unsealed import UnsealedUpload
from steno.collector.uploads.uploader import news_secs, pause_secs
from steno.journal import place
from steno.ledger.read import Reader


def test_a_dear_look_delays_readers_no_longer_than_they_are_promised(tmp_path):
    with steno.init("p", "a", dir=tmp_path) as run:
        run.log({"x": 1.0}, step=0)
        assert run.flush(30)
        node = node_of(run.dir)
        unsealed = UnsealedUpload(node, 5.0)
        assert unsealed.due_secs == math.inf
        snapshot = Reader(run.dir).snapshot(batches=False)
        assert unsealed.hold(snapshot, place.ledger(node_dir(run.dir)), 0, is_wanted=True)
        # A look that took ten seconds of a processor would otherwise be the last one for minutes.
        assert pause_secs(10.0, unsealed) <= 5.0
        assert pause_secs(0.0, unsealed) == 1.0
        # When the run has ended nothing is due, and what a look takes counts alone.
        assert unsealed.hold(snapshot, None, 0, is_wanted=False)
        assert unsealed.due_secs == math.inf
        assert pause_secs(10.0, unsealed) == 500.0
        assert pause_secs(10.0, UnsealedUpload(node, 0.0)) == 500.0


def test_news_of_a_node_come_no_oftener_than_what_it_records_and_before_its_run_is_over_for_others():
    assert news_secs(5.0) == news_secs(0.0) == 30.0
    assert news_secs(40.0) == 60.0  # of 512 nodes: each sends 90 objects an hour, not 180
    assert news_secs(1000.0) < generations.OVER_SECS
