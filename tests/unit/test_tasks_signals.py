"""A signal handler may call async_log at any moment, also in the middle of the first call's imports."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import signal, sys, time, steno

class Interrupting:
    def find_spec(self, name, *_):
        if name == "steno.capture.tasks.task":
            signal.raise_signal(signal.SIGUSR1)
            time.sleep(0.2)

futures = []
run = steno.init(project="p", settings=steno.Settings(quiet=True))
signal.signal(signal.SIGUSR1, lambda *_: futures.append(run.async_log(dict, loss=1.0)))
sys.meta_path.insert(0, Interrupting())
futures.append(run.async_log(dict, loss=2.0))
print(len(futures), all(future.result(20) for future in futures), run.finish())
"""


def test_signal_handler_may_make_the_first_call_while_its_modules_are_imported(tmp_path):
    """In an import of its own thread the handler would find the module half made."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("2 True True\n", "")
