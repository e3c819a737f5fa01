"""The types of what steno returns, for annotations; nobody but steno makes them."""

from __future__ import annotations

from steno.capture.config import JournalledMapping
from steno.catchup import SyncReport
from steno.ledger.snapshot import Loss
from steno.record import Unposted
from steno.store.attempts import Attempt
from steno.store.bins.answer import LeftOut, Mark
from steno.store.bins.curve import BinPoints, CurveBins, CurvePoints, GroupCurve, Smoothed
from steno.store.entrypages import EntryPage
from steno.store.listing import RunList
from steno.store.media import MediaItem
from steno.store.ranks import Straggler, Stragglers
from steno.store.run_summary import RunSummary
from steno.viewer.started import Viewer

__all__ = [
    "Attempt", "BinPoints", "CurveBins", "CurvePoints", "EntryPage", "GroupCurve", "JournalledMapping", "LeftOut",
    "Loss", "Mark", "MediaItem", "RunList", "RunSummary", "Smoothed", "Straggler", "Stragglers", "SyncReport",
    "Unposted", "Viewer",
]  # fmt: skip

for _name in __all__:
    # A repr names what the user can import, not the file it lives in.
    globals()[_name].__module__ = __name__
