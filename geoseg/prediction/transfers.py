"""Copies between the memory of the host and that of a device: all that a prediction makes, and counts.

On a GPU they are asynchronous and pass through pinned memory. Each thread that uses a device has a stream of its own,
so that the copies and kernels of one block run beside those of others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SIGNED = {np.dtype(np.uint16): np.int16, np.dtype(np.uint32): np.int32}
"""Types that devices hardly compute with -> those of the same bits that they do."""


class Mark:
    """A point in the work of a stream, for other streams to wait for. Without a GPU all work is done at once."""

    def __init__(self, device: torch.device, event: torch.cuda.Event | None = None) -> None:
        self._device, self._event = device, event

    def wait(self, *tensors: Tensor) -> None:
        """Let the current stream wait for this point; it may then use `tensors`, which another stream has made."""
        if self._event is None:
            return
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(self._event)
        for tensor in tensors:
            # Else the memory might be given to another tensor of the stream that made this one too early.
            tensor.record_stream(stream)


class Transfers:
    """The copies to and from one device. Safe to share between threads.

    Args:
        device: The device.

    Attributes:
        ups: Number of arrays that were copied to the device.
        downs: Number of tensors that were copied from it.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.ups = self.downs = 0
        self._lock = threading.Lock()
        self._streams = threading.local()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Let the device work of this context run on this thread's stream."""
        if self.device.type != "cuda":
            with torch.inference_mode():
                yield
            return
        found = getattr(self._streams, "stream", None)
        if found is None:
            found = self._streams.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        with torch.inference_mode(), torch.cuda.device(self.device), torch.cuda.stream(found):
            yield

    def mark(self) -> Mark:
        """Return the point that the current stream has come to."""
        if self.device.type != "cuda":
            return Mark(self.device)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return Mark(self.device, event)

    def up(self, array: NDArray[Any]) -> Tensor:
        """Copy an array to the device, in its own type; one of unsigned integers as signed ones of the same bits."""
        with self._lock:
            self.ups += 1
        signed = _SIGNED.get(array.dtype)
        tensor = torch.from_numpy(np.ascontiguousarray(array if signed is None else array.view(signed)))
        if self.device.type != "cuda":
            return tensor
        return tensor.pin_memory().to(self.device, non_blocking=True)

    def down(self, tensor: Tensor) -> NDArray[Any]:
        """Copy a tensor from the device, and wait for it."""
        with self._lock:
            self.downs += 1
        if self.device.type != "cuda":
            return tensor.cpu().numpy()
        here = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        here.copy_(tensor.contiguous(), non_blocking=True)
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        event.synchronize()
        return here.numpy()


def numbers(tensor: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Return a tensor of the values of an array of type `dtype` that went up: of another type if that was unsigned."""
    if dtype not in _SIGNED:
        return tensor
    bits = 8 * dtype.itemsize
    return (tensor.int() if bits < 32 else tensor.long()) & ((1 << bits) - 1)
