"""Figures on the page: what one canvas can draw of plotly's is drawn, the rest is said, and nothing of it runs."""

from __future__ import annotations

import io
import json

import elsewhere
import numpy as np
import pytest
import viewed

import steno
import viewer_server

HOSTILE = "<img src=x onerror=alert(1)>"


class Plotly:
    """A figure as plotly's own are for steno: what its JSON holds is the test's."""

    def __init__(self, figure):
        self.held = figure

    def to_json(self):
        return json.dumps(self.held)

    def to_plotly_json(self):
        return self.held


@pytest.fixture(scope="module")
def host():
    with elsewhere.listening() as found:
        yield found


@pytest.fixture(scope="module")
def viewer(tmp_path_factory, host):
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    place = tmp_path_factory.mktemp("figures")
    drawn, axes = plt.subplots(figsize=(3, 2))
    axes.plot([1, 2, 3])
    lines = [
        {"type": "scatter", "x": [0, 1, 2], "y": [0, 1, 4], "line": {"color": "#ff0000"}, "name": "red"},
        {"type": "bar", "x": [0, 1, 2], "y": [1, 1, 1], "marker": {"color": "#0000ff"}, "name": "blue"},
    ]
    address = host[0]
    script = f"<script src='{address}/script'></script><img src='{address}/image' onerror='alert(1)'>"
    hostile = {
        "data": [
            {"type": "scatter", "x": ["2026-01-01", script], "y": [1, 2], "name": script, "text": [script],
             "line": {"color": f"url({address}/colour)"}, "hovertemplate": script},
            {"type": f"{HOSTILE}", "z": script},
        ],
        "layout": {
            "title": {"text": script}, "images": [{"source": f"{address}/source"}], "xaxis": {"title": script},
            "mapbox": {"style": f"{address}/style"}, "template": {"layout": {"font": {"family": f"url({address})"}}},
        },
        "__proto__": {"owned": 1}, "frames": [{"data": []}],
    }  # fmt: skip
    with steno.init(project="p", name="a", dir=str(place)) as run:
        run.log(
            {
                "drawn": drawn,
                "lines": steno.Figure(Plotly({"data": lines, "layout": {"title": "a title"}}), "said with it"),
                "surface": steno.Figure(Plotly({"data": [{"type": "surface", "z": [[1, 2], [3, 4]]}]})),
                "hostile": steno.Figure(Plotly(hostile), HOSTILE),
                "damaged": steno.Figure(Plotly({"data": []})),
            },
            step=7,
        )
        assert run.finish(120)
    plt.close(drawn)
    with steno.open(run.dir) as reader:
        reader.media("damaged")[0].path.write_text('{"data": [')
    with viewer_server.viewing(place) as viewer:
        yield viewer


def opened(browse, viewer, key, what=".plotly", **options):
    page = browse(f"{viewer.url}#filter=^{key}$", **options)
    card = page.locator(f'article[data-key="{key}"]')
    card.locator(what).first.wait_for()
    return page, card


def test_a_matplotlib_figure_is_its_picture(browse, viewer):
    _, card = opened(browse, viewer, "drawn", ".picture img")
    assert card.locator(".picture img").count() == 1


def test_lines_and_bars_are_drawn_and_toggled(browse, viewer):
    from PIL import Image

    page, card = opened(browse, viewer, "lines", ".plot canvas")
    assert card.locator("h4").inner_text() == "a title"

    def seen():
        page.wait_for_timeout(300)
        shot = Image.open(io.BytesIO(card.locator(".plot canvas").screenshot())).convert("RGB")
        pixels = np.asarray(shot).astype(int)
        red = (pixels[..., 0] > 200) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)
        blue = (pixels[..., 2] > 200) & (pixels[..., 0] < 80)
        return red, blue

    red, blue = seen()
    assert red.sum() > 100
    assert blue.sum() > 2000
    rows, columns = np.nonzero(red)
    assert rows[columns.argmin()] > rows[columns.argmax()], "the line rises"
    card.get_by_role("checkbox", name="blue").uncheck()
    red, blue = seen()
    assert blue.sum() == 0
    assert red.sum() > 100
    box = card.locator(".plot").bounding_box()
    rows, columns = np.nonzero(red)
    page.mouse.move(box["x"] + columns.max() - 2, box["y"] + rows[columns.argmax()] + 1)
    card.get_by_text("red: 2, 4").wait_for()


def test_a_precision_recall_curve_is_drawn(browse, tmp_path):
    with steno.SummaryWriter(str(tmp_path / "logs")) as writer:
        truth = np.arange(100) % 3 == 0
        writer.add_pr_curve("quality", truth, np.where(truth, 0.8, 0.3), 0)
    with viewer_server.viewing(tmp_path) as viewer:
        page, card = opened(browse, viewer, "quality", ".plot canvas")
        assert "precision" in card.locator(".plot canvas").get_attribute("aria-label")
        page.close()


def test_what_is_not_drawn_is_said_with_the_way_to_see_it(browse, viewer):
    page, card = opened(browse, viewer, "surface")
    assert "Not drawn: a trace of the type “surface”." in card.inner_text()
    card.get_by_text("the whole figure, with plotly").click()
    code = card.locator(".export pre").inner_text()
    assert 'steno.open("p/a"' in code
    found: dict[str, object] = {}
    code = code.replace("import plotly.io, steno", "import steno").rpartition("\n")[0]
    exec(code, found)  # as a user would, up to plotly itself
    assert json.loads(found["item"].path.read_text())["data"][0]["type"] == "surface"


def test_nothing_of_a_figure_runs_or_asks(browse, viewer, host):
    page, card = opened(browse, viewer, "hostile")
    page.wait_for_timeout(700)
    assert card.locator("script, img").count() == 0
    assert card.locator(".caption").inner_text() == HOSTILE
    assert host[1] == []
    assert page.evaluate("({}).owned === undefined")


def test_a_damaged_figure_says_so(browse, viewer):
    _, card = opened(browse, viewer, "damaged", ".broken")
    assert "cannot be read" in card.locator(".broken").inner_text()


def test_nothing_serious_stands_in_the_way(browse, viewer):
    for theme in ("light", "dark"):
        page = browse(f"{viewer.url}#filter=lines|surface", color_scheme=theme, bypass_csp=True)
        page.locator(".plot canvas").first.wait_for()
        page.locator(".plotly .warn").first.wait_for()
        assert viewed.serious(page) == [], theme
