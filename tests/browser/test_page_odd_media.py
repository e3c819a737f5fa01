"""Media that no recorder writes, as a run of somebody else's may hold them: each is a tile, and the page goes on."""

from __future__ import annotations

import math

import numpy as np
import pytest

import steno
import viewer_server
from steno.media.raw import Captured, capture

LONG = "<b>" * 5000
ODD = [
    ("image", {"ext": "png"}),
    ("image", {"ext": "png", "caption": LONG, "boxes": "x"}),
    ("image", {"boxes": [{"box": [math.nan, 0, 1e308, -1e308], "label": {"a": 1}, "score": "x"}, None, 7]}),
    ("image", {"attached": {"m": {"digest": "../../../etc/passwd", "kind": "mask", "meta": {"ext": "png"}}}}),
    ("image", {"shape": "x"}),
    ("figure", {"ext": "json"}),
    ("audio", {"rate": LONG, "channels": -1, "frames": math.inf}),
    ("video", {"fps": {"a": [None]}}),
    ("html", {"text": "<script>document.title = 'owned'</script>"}),
    ("table", {"rows": -1, "columns": [LONG]}),
    ("mesh", {"shape": [1e300]}),
    ("text", {"text": 5}),
    ("text", {"text": LONG}),
    ("pr_curve", {"curve": [[{}], "x"]}),
    ("pr_curve", {"curve": [[0.5, "x", None, math.inf]] * 6}),
    ("constructor", {"ext": "__proto__"}),
    ("lost kind", {"lost": LONG}),
]
REFUSED = ("3-image", "11-text")
"""A reader refuses these as they come out of the journal: they cost themselves alone, and are counted."""


class Odd:
    """A value of which the meta says all, whatever it says."""

    def __init__(self, kind, meta):
        self.kind, self.meta = kind, meta

    def __steno__(self):
        return Captured(self.kind, self.meta)


class OddMask:
    """An image whose mask is no grey PNG, or is much larger than the image."""

    def __init__(self, mask):
        self.mask = mask

    def __steno__(self):
        made = steno.Image(np.full((8, 8, 3), 90, np.uint8)).__steno__()
        mask = capture("mask", {"axes": "HWC"}, {"pixels": self.mask}, {"ext": "png", "classes": {"x": [1], "1": LONG}})
        return Captured(made.kind, made.meta, made.size_bytes, made.parts, {LONG[:9]: mask})


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("odd")
    with steno.init(project="p", name="odd", dir=str(place)) as run:
        values = {f"{at}-{kind}": Odd(kind, meta) for at, (kind, meta) in enumerate(ODD)}
        for name, bins in {
            "no edges": {"counts": [1, 2]},
            "words": {"counts": ["a"], "edges": [0, 1]},
            "falling": {"counts": [1, 1], "edges": [3, 2, 1]},
            "empty": {"counts": [], "edges": []},
            "infinite": {"counts": [1], "edges": [-math.inf, math.inf], "outside": "x"},
        }.items():
            values[f"histogram {name}"] = Odd("histogram", bins)
        values["masks/0"] = OddMask(np.zeros((8, 8, 3), np.uint8))
        values["masks/1"] = OddMask(np.ones((512, 2), np.uint8))
        run.log(values, step=-5)
        run.log({"0-image": Odd("image", {})}, step=2**53)
        run.finish(120)  # not all of it can be taken into a summary
    with viewer_server.viewing(place) as viewer:
        yield viewer


def test_each_is_a_tile_and_the_page_goes_on(browse, viewer):
    """What the page complains about fails the test."""
    page = browse(viewer.url)
    page.set_viewport_size({"width": 1440, "height": 9000})
    keys = [f"{at}-{kind}" for at, (kind, _) in enumerate(ODD) if f"{at}-{kind}" not in REFUSED]
    for key in keys:
        page.locator(f'article[data-key="{key}"] .tile .content > *').first.wait_for()
    page.wait_for_timeout(500)
    assert page.title() != "owned"
    assert page.locator("article.media").count() >= len(keys) + 5
    for key in ("0-image", "6-audio", "9-table", "10-mesh"):
        assert "no file" in page.locator(f'article[data-key="{key}"]').inner_text()
    assert not any(page.locator(f'article[data-key="{key}"]').count() for key in REFUSED)


@pytest.mark.parametrize("name", ["no edges", "words", "falling", "empty", "infinite"])
def test_histograms_that_are_none_are_counted(browse, viewer, name):
    page = browse(f"{viewer.url}#filter=^histogram {name}$")
    card = page.locator(f'article[data-key="histogram {name}"]')
    card.get_by_text("can be read").wait_for()


def test_masks_that_are_none_say_so(browse, viewer):
    page = browse(f"{viewer.url}#filter=^masks")
    card = page.locator('article[data-key="masks"]')
    card.get_by_text("is not a grey one").wait_for()
    assert card.locator(".tile").count() == 2
    card.locator(".picture").last.click()
    page.locator("dialog.zoom .stage img").wait_for()
    page.wait_for_timeout(300)
