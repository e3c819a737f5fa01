"""The console in a real kernel, with a pause between the cells as a person makes it."""

from __future__ import annotations

import time

import pytest

manager = pytest.importorskip("jupyter_client.manager")
pytest.importorskip("ipykernel")

LOAD = "import steno, time"
BEGIN = "run = steno.init(project='nb', dir={place!r}, destinations=['console'])"
LOOP = "for step in range(15):\n    run.log({{'loss': 1 / (step + 1)}}, step); time.sleep(0.1)"
END = "run.finish(30)"


@pytest.mark.parametrize(
    "cells",
    [[LOAD, BEGIN, LOOP, END], [f"{LOAD}\n{BEGIN}", LOOP, END], [LOAD, f"{BEGIN}\n{LOOP}", END]],
    ids=["import, init, loop", "import+init, loop", "import, init+loop"],
)
def test_the_console_is_one_output_that_is_replaced(tmp_path, cells):
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    told = []
    try:
        for cell in cells:
            reply = client.execute_interactive(cell.format(place=str(tmp_path)), output_hook=told.append, timeout=60)
            assert reply["content"]["status"] == "ok", reply
            time.sleep(0.7)  # nobody runs a cell: what draws then must still know where it is
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
    texts = [message["content"].get("text", "") for message in told if message["msg_type"] == "stream"]
    assert not [text for text in texts if "\x1b" in text]
    shown = [message["msg_type"] for message in told if "display" in message["msg_type"]]
    assert shown.count("display_data") == 1
    assert shown.count("update_display_data") >= 1
