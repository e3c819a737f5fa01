"""Runs of an object store in a real browser: while it is out of reach the page says how old is what it shows."""

from __future__ import annotations

import os

import pytest
from viewed import beyond, ready

import object_stores
import steno
import viewer_server

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def gate(monkeypatch, tmp_path):
    """The way to an S3 server, which this process and its children take."""
    with object_stores.moto_server() as port, object_stores.gated(port, monkeypatch, tmp_path) as found:
        yield found


@pytest.fixture
def url(gate):
    name = f"b-{os.urandom(8).hex()}"
    object_stores.client(gate.server_port).create_bucket(Bucket=name)
    return f"s3://{name}/runs"


def test_a_store_that_is_out_of_reach_is_said_with_the_age_of_what_is_shown(browse, gate, url, tmp_path):
    with steno.init(project="p", name="first", dir=str(tmp_path / "runs"), store=url) as run:
        for step in range(50):
            run.log({"loss": 1 / (step + 1)}, step=step)
        assert run.finish(90)
    with viewer_server.viewing(url) as viewer:
        page = browse(viewer.url)
        ready(page, "loss")
        banner = page.get_by_role("status").filter(has_text="store out of reach")
        assert banner.count() == 0
        live = page.get_by_role("status").filter(has_text="live")
        live.wait_for()
        gate.forbidden = "list-type"
        banner.wait_for(timeout=60_000)
        assert "as it was" in banner.inner_text()
        assert live.count() == 0
        assert "cannot be listed" in banner.get_attribute("title")
        age = banner.inner_text()
        page.wait_for_function("old => !document.querySelector('.way.away')?.textContent.includes(old)", arg=age)
        ready(page, "loss")
        page.set_viewport_size({"width": 390, "height": 844})
        assert beyond(page) == []
        gate.forbidden = ""
        banner.wait_for(state="detached", timeout=60_000)
        live.wait_for()
        page.close()
