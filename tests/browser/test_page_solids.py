"""3D objects on the page: drawn with their colours, turned, many at once in one WebGL context, and damaged ones said."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
import viewed

import steno
import viewer_server


def cube(colour):
    """Eight corners, twelve faces, one colour."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [three for a, b, c, d in sides for three in ((a, b, c), (a, c, d))]
    return steno.Object3D(corners, colors=np.tile(np.array(colour, np.uint8), (8, 1)), faces=np.array(faces))


@pytest.fixture(scope="module")
def viewer(tmp_path_factory):
    place = tmp_path_factory.mktemp("solids")
    cloud = np.random.default_rng(0).normal(size=(2000, 3))
    cloud[5] = np.nan
    with steno.init(project="p", name="a", dir=str(place)) as run:
        run.log(
            {
                "cube": cube((255, 0, 0)),
                "cloud": steno.Object3D(cloud, caption="a <b>cloud</b>"),
                "batch": steno.Object3D(np.stack([np.eye(3), 2 * np.eye(3)])),
                "many": [cube((0, 0, 255)) for _ in range(30)],
                "damaged": steno.Object3D(np.eye(3) * 3),
                "bomb": steno.Object3D(np.eye(3) * 4),
            },
            step=0,
        )
        assert run.finish(120)
    with steno.open(run.dir) as reader:
        reader.media("damaged")[0].path.write_bytes(b"PK\x05\x06" + b"\xff" * 40)
        with zipfile.ZipFile(reader.media("bomb")[0].path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("vertices.npy", b"\x93NUMPY\x01\x00" + b"\0" * (300 << 20))
    with viewer_server.viewing(place) as viewer:
        yield viewer


def opened(browse, viewer, key):
    page = browse(f"{viewer.url}#filter=^{key}$")
    card = page.locator(f'article[data-key="{key}"]')
    card.locator(".solid canvas, .broken").first.wait_for()
    return page, card


def pixels(canvas):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)


def test_a_mesh_is_drawn_in_its_colours_and_turned(browse, viewer):
    page, card = opened(browse, viewer, "cube")
    page.wait_for_timeout(400)
    first = pixels(card.locator("canvas"))
    red = (first[..., 0] > 90) & (first[..., 1] < 60) & (first[..., 2] < 60)
    assert 0.05 < red.mean() < 0.9
    rows, columns = np.nonzero(red)
    high, wide = red.shape
    assert abs(rows.mean() - high / 2) < high / 6
    assert abs(columns.mean() - wide / 2) < wide / 6
    assert len(np.unique(first[red][:, 0] // 8)) >= 2, "sides differ by their light"
    card.get_by_role("img", name="cube").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(300)
    assert np.abs(pixels(card.locator("canvas")) - first).max() > 30
    assert "12 faces, 8 vertices" in card.inner_text()


def test_a_cloud_says_what_is_not_shown(browse, viewer):
    page, card = opened(browse, viewer, "cloud")
    assert "1,999 points, 1 that are not finite are not shown" in card.inner_text()
    page.wait_for_timeout(300)
    assert np.ptp(pixels(card.locator("canvas")), axis=2).max() > 60


def test_members_of_a_batch(browse, viewer):
    page, card = opened(browse, viewer, "batch")
    card.get_by_label("member").fill("1")
    card.get_by_text("x 0 … 2").wait_for()


def test_many_objects_share_one_context(browse, viewer):
    page = browse("about:blank")
    page.add_init_script(
        """window.contexts = 0;
        const before = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          if (kind.startsWith("webgl")) window.contexts += 1;
          return before.call(this, kind, ...rest);
        };"""
    )
    page.goto(f"{viewer.url}#filter=^many$&card=many")
    card = page.locator('dialog article[data-key="many"]')
    card.locator(".solid canvas").first.wait_for()
    for at in range(30):
        card.locator(".tile").nth(at).scroll_into_view_if_needed()
        card.locator(".tile").nth(at).locator("canvas").wait_for()
    page.wait_for_timeout(500)
    for at in (0, 15, 29):
        card.locator(".tile").nth(at).scroll_into_view_if_needed()
        found = pixels(card.locator(".tile").nth(at).locator("canvas"))
        assert ((found[..., 2] > 90) & (found[..., 0] < 60)).mean() > 0.03, at
    assert page.evaluate("window.contexts") == 1


@pytest.mark.parametrize("key", ["damaged", "bomb"])
def test_a_damaged_object_says_so(browse, viewer, key):
    page, card = opened(browse, viewer, key)
    assert "cannot be shown" in card.locator(".broken").inner_text()


def test_nothing_serious_stands_in_the_way(browse, viewer):
    for theme in ("light", "dark"):
        page = browse(f"{viewer.url}#filter=cube|cloud", color_scheme=theme, bypass_csp=True)
        page.locator(".solid canvas").first.wait_for()
        assert viewed.serious(page) == [], theme
