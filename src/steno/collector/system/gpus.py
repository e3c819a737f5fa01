"""What NVML says of this machine's NVIDIA GPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from steno.collector.system.probe import Measured


class Gpus:
    """Utilisation, memory, temperature and power of each GPU, by its NVML index. For one thread.

    A GPU that stops answering, or a quantity that a GPU does not know, is left out.

    Args:
        say: called with (key, message) of what goes wrong, once per key.
    """

    name = "NVML"

    def __init__(self, say: Callable[[str, str], None]) -> None:
        self._say = say
        self._nvml: Any = None
        self._handles: list[Any] = []

    def open(self) -> bool:
        """Find the GPUs; False: there is none. ImportError when nvidia-ml-py is not installed."""
        import pynvml as nvml

        try:
            nvml.nvmlInit()
            self._nvml = nvml
            self._handles = [nvml.nvmlDeviceGetHandleByIndex(at) for at in range(nvml.nvmlDeviceGetCount())]
        except (nvml.NVMLError_LibraryNotFound, nvml.NVMLError_DriverNotLoaded):
            return False
        return bool(self._handles)

    def sample(self, passed_secs: float, processes: Mapping[int, frozenset[int]]) -> list[Measured]:  # noqa: ARG002
        """One record of the machine with all its GPUs; none when no GPU answers."""
        values: dict[str, float] = {}
        for at, handle in enumerate(self._handles):
            values |= {f"gpu/{at}/{name}": value for name, value in self._of(at, handle).items()}
        return [(None, values)] if values else []

    def close(self) -> None:
        """Let go of the driver."""
        if self._nvml is not None:
            self._nvml.nvmlShutdown()

    def _of(self, at: int, handle: Any) -> dict[str, float]:
        nvml = self._nvml
        values: dict[str, float] = {}
        for read in (self._load, self._memory, self._temperature, self._power):
            try:
                values |= read(handle)
            except nvml.NVMLError_NotSupported:
                continue
            except nvml.NVMLError as error:
                self._say(f"gpu {at} {error}", f"GPU {at} does not tell all its metrics: {error}")
        return values

    def _load(self, handle: Any) -> dict[str, float]:
        return {"utilization_percent": self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu}

    def _memory(self, handle: Any) -> dict[str, float]:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
        return {"memory_used_bytes": memory.used, "memory_percent": 100.0 * memory.used / max(memory.total, 1)}

    def _temperature(self, handle: Any) -> dict[str, float]:
        return {"temperature_celsius": self._nvml.nvmlDeviceGetTemperature(handle, self._nvml.NVML_TEMPERATURE_GPU)}

    def _power(self, handle: Any) -> dict[str, float]:
        return {"power_watts": self._nvml.nvmlDeviceGetPowerUsage(handle) / 1000.0}
