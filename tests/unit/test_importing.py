"""A fork while another thread imports: the child must not wait for that thread, which it does not have."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os, sys, threading, time
import steno
steno.GlobalSummaryWriter  # what a program has that uses a writer
sys.path.insert(0, sys.argv[1])
sys.entered = threading.Event()
thread = threading.Thread(target=__import__, args=("slow",))
thread.start()
sys.entered.wait()
child = os.fork()
if child == 0:
    import slow
    os._exit(7 if slow.done else 1)
deadline = time.monotonic() + 60
while time.monotonic() < deadline:
    pid, status = os.waitpid(child, os.WNOHANG)
    if pid:
        break
    time.sleep(0.01)
else:
    os.kill(child, 9)
    raise SystemExit("the child waits for ever")
thread.join()
raise SystemExit(0 if os.waitstatus_to_exitcode(status) == 7 else f"the child ended with {status}")
"""


def test_a_child_forked_while_another_thread_imports_can_import_the_same(tmp_path):
    (tmp_path / "slow.py").write_text("import sys, time\nsys.entered.set()\ntime.sleep(0.3)\ndone = True\n")
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
