"""What a logger's call costs: StenoLogger beside TorchRL's CSVLogger, in one process.

scripts/test-integrations torchrl        once: makes the environment
.venv-torchrl/bin/python benchmarks/loggers.py
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
sys.path.insert(0, str(Path(__file__).parent))

try:
    import torch
    from tensordict import TensorDict
    from torchrl.record.loggers import CSVLogger
except ImportError as error:
    sys.exit(f"not measured: {error}. See the top of this file for the environment that it needs")

from _measure import clock, machine, table  # noqa: E402
from steno.integrations.torchrl import StenoLogger  # noqa: E402

METRICS = 64


def median_micros(call, calls, warm=50):
    """The median of single calls, microseconds."""
    taken = []
    for step in range(warm + calls):
        start = clock()
        call(step)
        taken.append(clock() - start)
    return statistics.median(taken[warm:]) / 1000


def main():
    values = {f"metric_{index}": torch.tensor(float(index)) for index in range(METRICS)}
    calls = {
        "log_scalar, a float": (5000, lambda logger, step: logger.log_scalar("loss", 0.5, step)),
        "log_scalar, a tensor": (5000, lambda logger, step: logger.log_scalar("tensor", values["metric_1"], step)),
        f"log_metrics, dict of {METRICS} tensors": (500, lambda logger, step: logger.log_metrics(values, step)),
        f"log_metrics, TensorDict of {METRICS}": (
            500,
            lambda logger, step, td=TensorDict(values): logger.log_metrics(td, step),
        ),
    }
    rows = {name: [name] for name in calls}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        for kind in (CSVLogger, StenoLogger):
            logger = kind("one", f"{place}/{kind.__name__}")
            for name, (count, call) in calls.items():
                rows[name].append(median_micros(lambda step, call=call, logger=logger: call(logger, step), count))
            logger.close()
    print(machine())
    table("Median of one call, microseconds", ["call", "CSVLogger", "StenoLogger"], list(rows.values()))


if __name__ == "__main__":
    main()
