"""Use and memory of this process's GPUs by NVIDIA's management library, which comes with the driver.

It is called by ctypes: a package would have to be in every image, while the library is where the GPUs are.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

LIBRARY = "libnvidia-ml.so.1"


class _Utilization(ctypes.Structure):  # nvmlUtilization_t: percent of the time in which a kernel ran
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):  # nvmlMemory_t, bytes
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@dataclass(frozen=True)
class GpuSample:
    """One GPU at one moment.

    Attributes:
        index: NVML's.
        use: Share of the last moments in which the GPU computed.
        used_bytes, total_bytes: Of its memory, by whoever uses it.
    """

    index: int
    use: float
    used_bytes: int
    total_bytes: int


class Gpus:
    """The GPUs that this process may use; none where there is no driver.

    Args:
        library: File to load.
    """

    def __init__(self, library: str = LIBRARY) -> None:
        self._handles: dict[int, ctypes.c_void_p] = {}
        try:
            self._nvml = ctypes.CDLL(library)
            self._find()
        except (OSError, AttributeError):  # no driver here, or one without these functions
            self._handles = {}

    def __len__(self) -> int:
        return len(self._handles)

    def sample(self) -> list[GpuSample]:
        """How they are now; a GPU that does not answer is left out."""
        samples = []
        for index, handle in self._handles.items():
            use, memory = _Utilization(), _Memory()
            failed = self._nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory))
            failed = failed or self._nvml.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(use))
            if not failed:
                samples.append(GpuSample(index, use.gpu / 100, memory.used, memory.total))
        return samples

    def _find(self) -> None:
        count = ctypes.c_uint()
        if self._nvml.nvmlInit_v2() or self._nvml.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return
        for index in range(count.value):
            handle = ctypes.c_void_p()
            if not self._nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)):
                self._handles[index] = handle
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
        if allowed is not None and all(word.strip().isdecimal() for word in allowed.split(",") if word.strip()):
            wanted = {int(word) for word in allowed.split(",") if word.strip()}
            self._handles = {index: handle for index, handle in self._handles.items() if index in wanted}
