"""What psutil says of this machine, and of the processes that log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from steno.collector.system.probe import Measured

_LOOPBACK = "lo"


class Host:
    """CPU, memory, disk and network of the machine; CPU and memory of each rank's processes. For one thread.

    Percentages are of all cores together for the machine, and of one core for a rank's processes. Rates are means
    since the sample before, in bytes a second. What this machine does not tell is left out.

    Args:
        run_dir: the file system whose space is reported.
    """

    name = "psutil"

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._psutil: Any = None
        self._counted: dict[str, float] = {}
        self._processes: dict[int, Any] = {}

    def open(self) -> bool:
        """Begin to count; ImportError when psutil is not installed."""
        import psutil

        self._psutil = psutil
        psutil.cpu_percent(interval=None)
        self._rates(1.0)
        return True

    def sample(self, passed_secs: float, processes: Mapping[int, frozenset[int]]) -> list[Measured]:
        """By rank, None for the machine: values by key."""
        psutil = self._psutil
        memory, space = psutil.virtual_memory(), psutil.disk_usage(str(self._run_dir))
        values = {
            "cpu_percent": psutil.cpu_percent(interval=None),
            "memory_percent": memory.percent,
            "memory_used_bytes": memory.total - memory.available,
            "disk_percent": space.percent,
            "disk_free_bytes": space.free,
            **self._rates(passed_secs),
        }
        found: list[Measured] = [(None, values)]
        for pid in set(self._processes).difference(*processes.values()):
            del self._processes[pid]
        found += [(rank, one) for rank, pids in sorted(processes.items()) if (one := self._of_rank(pids))]
        return found

    def close(self) -> None:
        """Nothing is held."""

    def _rates(self, passed_secs: float) -> dict[str, float]:
        disk, nics = self._psutil.disk_io_counters(), self._psutil.net_io_counters(pernic=True)
        outside = [nic for name, nic in nics.items() if not name.startswith(_LOOPBACK)]
        counted: dict[str, float] = {
            "network_sent_bytes_per_sec": sum(nic.bytes_sent for nic in outside),
            "network_received_bytes_per_sec": sum(nic.bytes_recv for nic in outside),
        }
        if disk is not None:
            counted |= {"disk_read_bytes_per_sec": disk.read_bytes, "disk_write_bytes_per_sec": disk.write_bytes}
        before, self._counted = self._counted, counted
        return {key: max(now - before[key], 0.0) / passed_secs for key, now in counted.items() if key in before}

    def _of_rank(self, pids: frozenset[int]) -> dict[str, float]:
        psutil = self._psutil
        cpu, memory, threads, known = 0.0, 0, 0, False
        for pid in pids:
            try:
                process = self._processes.get(pid)
                if process is None:
                    process = self._processes[pid] = psutil.Process(pid)
                    process.cpu_percent(interval=None)  # it counts from here
                    continue
                cpu += process.cpu_percent(interval=None)
                memory += process.memory_info().rss
                threads += process.num_threads()
                known = True
            except psutil.Error:
                self._processes.pop(pid, None)
        if not known:
            return {}
        return {"process/cpu_percent": cpu, "process/memory_bytes": memory, "process/threads": threads}
