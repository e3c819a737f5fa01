"""The console and a list of runs in a real kernel, with a pause between the cells as a person makes it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("jupyter_client.manager")
pytest.importorskip("ipykernel")

LOAD = "import steno, time"
BEGIN = "run = steno.init(project='nb', dir={place!r}, destinations=['console'], capture='both')"
LOOP = (
    "for step in range(15):\n    run.log({{'loss': 1 / (step + 1)}}, step); time.sleep(0.1)\nprint('the loop is done')"
)
END = "run.finish(30)"
LIST = "steno.runs({place!r})"
READ = "[one.payload['text'] for one in steno.open(run.dir).records('output')]"
# In a program of its own: the client keeps an event loop for as long as its process lives.
DRIVER = """
import json, sys, time
from jupyter_client.manager import start_new_kernel
kernel, client = start_new_kernel(kernel_name="python3")
told = []
try:
    for cell in json.loads(sys.argv[1]):
        reply = client.execute_interactive(cell, output_hook=told.append, timeout=60)
        assert reply["content"]["status"] == "ok", reply
        time.sleep(0.7)  # nobody runs a cell: what draws then must still know where it is
finally:
    client.stop_channels()
    kernel.shutdown_kernel(now=True)
said = [message["content"] for message in told]
plain = [one.get("text", one.get("data", {}).get("text/plain", "")) for one in said]
print(json.dumps([[message["msg_type"], text] for message, text in zip(told, plain, strict=True)]))
"""


@pytest.mark.parametrize(
    "cells",
    [
        [LOAD, BEGIN, LOOP, END, LIST, READ],
        [f"{LOAD}\n{BEGIN}", LOOP, END, LIST, READ],
        [LOAD, f"{BEGIN}\n{LOOP}", END, LIST, READ],
    ],
    ids=["import, init, loop", "import+init, loop", "import, init+loop"],
)
def test_the_console_and_a_list_of_runs_are_one_output_each(tmp_path, cells):
    written = json.dumps([cell.format(place=str(tmp_path)) for cell in cells])
    done = subprocess.run([sys.executable, "-c", DRIVER, written], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert not [text for kind, text in told if kind == "stream" and "\x1b" in text]
    shown = [kind for kind, _ in told if "display" in kind]
    assert shown.count("display_data") == 1
    assert shown.count("update_display_data") >= 1
    # Rich, asked for a text in a kernel, would show the table itself besides.
    assert [text.split()[:2] for kind, text in told if kind == "execute_result" and "started" in text] == [
        ["run", "state"]
    ]
    # IPython puts back a stream's `write` after each cell; and DuckDB, without ipywidgets, lets no bar be turned off.
    assert [text for kind, text in told if kind == "execute_result"][-1] == "['the loop is done']"
