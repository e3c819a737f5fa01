"""What libraries, and steno itself, keep for as long as a process lives: no test's leak; each with its reason."""

from __future__ import annotations

import sys
import threading

IMPORTS = {
    "CRC32C_SW_MODE": "crc32c, of tensorboardX",
    "GIT_PYTHON_REFRESH": "mlflow",
    "TF_CPP_MIN_LOG_LEVEL": "jax",
    "TPU_SKIP_MDS_QUERY": "jax",
    "TORCHINDUCTOR_CACHE_DIR": "torch",
    "_MLFLOW_TELEMETRY_SESSION_ID": "mlflow",
    "_RJEM_MALLOC_CONF": "polars",
}
"""Environment variables that a package sets as it is imported, for its own native code."""
_THREADS = {
    "OtelBatchLogRecordProcessor": "wandb's telemetry",
    "OtelPeriodicExportingMetricReader": "wandb's telemetry",
    "fsspecIO": "fsspec's event loop, which all its file systems share",
    "steno-reaper": "it waits for a collector that outlives its run, by design",
    "tqdm_monitor": "tqdm redraws bars that stand still",
}
"""Daemon threads that a library starts at its first use and offers no way to end, by name."""
_FILES = {
    "/matplotlib/mpl-data/fonts/": "matplotlib's fonts",
    "/mlflow.db": "MLflow's connections to a store",
    "/catalog.db": "pyiceberg's connections to a catalogue, which are SQLAlchemy's to close",
}
"""Files that a library keeps open to be quicker the next time, by a part of their paths."""
HANDLERS = {"torch.utils.data._utils.signal_handling": "torch's DataLoader notices workers that die"}
"""Handlers of signals that a library sets once per process, by the module they are of."""


def threads():
    """Threads of Python's."""
    kept = {one for one in threading.enumerate() if one.name in _THREADS and one.daemon}
    queue = sys.modules.get("steno.capture.late.device_queue")
    if queue is not None:
        kept.add(queue.QUEUE._thread)  # one per process, from the first late value on
    loop = _fsspec_loop()
    if loop is not None and loop._default_executor is not None:
        kept |= loop._default_executor._threads
    iceberg = sys.modules.get("pyiceberg.utils.concurrent")
    if iceberg is not None and iceberg.ExecutorFactory._instance is not None:
        kept |= iceberg.ExecutorFactory._instance._threads  # one pool per process
    return kept


def files(paths):
    """Of open files, number → path, the numbers of those."""
    numbers = {number for number, path in paths.items() if any(part in path for part in _FILES)}
    life = sys.modules.get("steno.capture.tasks.life")
    if life is not None and life._ends:
        numbers.update(life._ends)  # one pipe per process, by which its children see that it is gone
    loop = _fsspec_loop()
    if loop is not None:
        numbers.update(one.fileno() for one in (loop._selector, loop._ssock, loop._csock))
    tracker = _tracker()
    if tracker is not None:
        numbers.add(tracker._fd)
    collector = _collector()
    if collector is not None:
        numbers.add(collector.stdin.fileno())
    return numbers


def _fsspec_loop():
    module = sys.modules.get("fsspec.asyn")
    return None if module is None else module.loop[0]


def children():
    """Numbers of child processes."""
    tracker, collector = _tracker(), _collector()
    module = sys.modules.get("steno.capture.start.collector_process")
    left = [] if module is None else [process.pid for process in module.LEFT]  # they outlive their runs, by design
    return {*([] if tracker is None else [tracker._pid]), *([] if collector is None else [collector.pid]), *left}


def _collector():
    """A program's last collector, which stays a while to serve its next run; held until there is another one."""
    module = sys.modules.get("steno.capture.start.collector_process")
    return None if module is None else module.COLLECTORS._process


def _tracker():
    """The standard library's process that removes semaphores and shared memory which nobody else has removed."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return None if module is None else module._resource_tracker
