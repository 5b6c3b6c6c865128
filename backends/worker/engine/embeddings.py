"""Prompt embeddings, computed once: a reroll never runs the text encoders again."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from diffusers import HiDreamImagePipeline

MAX_BYTES = 1 << 30
"""About thirty prompts of the full-size encoders (33.5 MB each in bfloat16, nearly all of it Llama's layers)."""


@dataclass(frozen=True, slots=True)
class Embeddings:
    """What four text encoders make of one prompt; batch size 1.

    ``t5`` is (1, tokens, width), ``llama`` (layers, 1, tokens, width), ``pooled`` (1, both CLIPs' widths).
    """

    t5: torch.Tensor
    llama: torch.Tensor
    pooled: torch.Tensor

    @property
    def bytes(self) -> int:
        """Memory taken."""
        return sum(tensor.nbytes for tensor in (self.t5, self.llama, self.pooled))

    def to(self, device: torch.device) -> "Embeddings":
        """The same on another device, bit for bit."""
        return Embeddings(self.t5.to(device), self.llama.to(device), self.pooled.to(device))


class EmbeddingsCache:
    """The most recently used prompts' embeddings, kept in main memory up to ``max_bytes``."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[tuple[object, ...], Embeddings] = OrderedDict()
        self.hits = 0
        self.misses = 0

    def encode(self, pipeline: HiDreamImagePipeline, prompt: str) -> Embeddings:
        """The prompt's embeddings on the pipeline's device; pipelines that share encoders share entries."""
        encoders = (
            pipeline.text_encoder,
            pipeline.text_encoder_2,
            pipeline.text_encoder_3,
            pipeline.text_encoder_4,
        )
        key = (*map(id, encoders), prompt)
        entry = self._entries.get(key)
        if entry is None:
            self.misses += 1
            entry = _encode(pipeline, prompt).to(torch.device("cpu"))
            self._entries[key] = entry
            self._bytes += entry.bytes
            self._shrink()
        else:
            self.hits += 1
            self._entries.move_to_end(key)
        return entry.to(pipeline._execution_device)

    def _shrink(self) -> None:
        while self._bytes > self._max_bytes and len(self._entries) > 1:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.bytes


@torch.no_grad()
def _encode(pipeline: HiDreamImagePipeline, prompt: str) -> Embeddings:
    t5, _, llama, _, pooled, _ = pipeline.encode_prompt(prompt=prompt, do_classifier_free_guidance=False)
    return Embeddings(t5, llama, pooled)
