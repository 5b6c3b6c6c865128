"""Which parts of the models are on the GPU, and which wait in main memory.

A part comes to the GPU by itself when it is about to compute. Where there is room for all, none ever leaves; where
there is not, the one that has not computed for longest makes way. So the text encoders go once a prompt is encoded,
and a prompt that is remembered costs no move at all.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial

import torch

log = logging.getLogger(__name__)

_WAITING = torch.device("cpu")


class Residency:
    """Keeps the parts that were given to it within a budget."""

    def __init__(self, device: torch.device, budget: int | None = None) -> None:
        """``budget``: bytes of parts that may be on the device at a time (one part always may); None: no limit.

        On a CPU moving costs nothing and changes nothing, but everything happens just so.
        """
        self._device = device
        self.budget = budget
        self._parts: set[torch.nn.Module] = set()
        self._there: dict[torch.nn.Module, int] = {}
        """What is on the device, and its bytes; the one that computed last is at the end."""
        self._tight = False

    @property
    def there(self) -> tuple[torch.nn.Module, ...]:
        """What is on the device, in the order in which it would make way."""
        return tuple(self._there)

    def add(self, part: torch.nn.Module) -> None:
        """Look after a part from now on; it is on the device if there is room. Twice is as good as once."""
        if part in self._parts:
            return
        self._parts.add(part)
        # Not a lambda: a copy of an engine has to look after its own parts.
        part.register_forward_pre_hook(partial(_come, self))
        if self.budget is None or sum(self._there.values()) + _bytes(part) <= self.budget:
            self.bring(part)
        else:
            part.to(_WAITING)

    def forget(self, parts: Iterable[torch.nn.Module]) -> None:
        """Look after these no more: their model could not be loaded."""
        for part in parts:
            self._parts.discard(part)
            self._there.pop(part, None)

    def add_decoder(self, decoder: torch.nn.Module) -> None:
        """The VAE's, which stays on the device: when memory is tight, all else leaves before it computes."""
        decoder.register_forward_pre_hook(partial(_stand_back, self))

    def bring(self, part: torch.nn.Module) -> None:
        """Have a part on the device, and let others make way for it."""
        size = self._there.pop(part, None)
        if size is None:
            size = _bytes(part)
            self._make_room(size)
            part.to(self._device)
        self._there[part] = size

    @contextmanager
    def tight(self) -> Iterator[None]:
        """One part at a time for the length of the block, and none while a picture is decoded."""
        before, self.budget, self._tight = self.budget, 0, True
        try:
            self._make_room(1)
            yield
        finally:
            self.budget, self._tight = before, False

    def stand_back(self) -> None:
        """A picture is about to be decoded."""
        if self._tight:
            self._make_room(1)

    def _make_room(self, size: int) -> None:
        if self.budget is None:
            return
        left = []
        while self._there and sum(self._there.values()) + size > self.budget:
            part = next(iter(self._there))
            del self._there[part]
            part.to(_WAITING)
            left.append(type(part).__name__)
        if left:
            log.debug("%s wait in main memory", ", ".join(left))
            if self._device.type == "cuda":
                torch.cuda.empty_cache()


def _come(residency: Residency, part: torch.nn.Module, _inputs: object) -> None:
    residency.bring(part)


def _stand_back(residency: Residency, _decoder: torch.nn.Module, _inputs: object) -> None:
    residency.stand_back()


def _bytes(part: torch.nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*part.parameters(), *part.buffers()))
