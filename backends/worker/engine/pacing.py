"""Keeps the CPU from running ahead of the GPU."""

import torch


class Pace:
    """Lets one step be queued while another computes, and no more.

    Where nothing is read back, the CPU would queue a whole picture's steps within a moment: progress would be told
    before it is made, and a cancelled job would go on to its end.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before: torch.cuda.Event | None = None

    def step(self) -> None:
        """A step has been queued: wait for the one before it."""
        if self._device.type != "cuda":
            return
        if self._before is not None:
            self._before.synchronize()
        self._before = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._before.record(torch.cuda.current_stream(self._device))
