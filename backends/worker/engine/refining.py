"""HiDream-E1's refinement: the last steps of an edit are the painter's, on a description of the picture to come.

As in the published script (HiDream-ai/HiDream-E1, ``refine_strength``): one run of steps, of which the editor takes
the first share and HiDream-I1-Full the rest, without the source picture beside the noise.
"""

from typing import Any

import torch

from backends.worker.engine.embeddings import Embeddings


def first_refined_step(steps: int, strength: float) -> int:
    """How many steps the editor takes: ``int(steps * (1 - strength))``, as the script counts."""
    return int(steps * (1 - strength))


class Relay(torch.nn.Module):
    """The transformer as the pipeline sees it: the editor for the first steps, then the painter.

    The pipeline calls it once a step. The painter gets embeddings of its own instead of the pipeline's, in the
    pipeline's batch: the prompt's alone, or the negative's and the prompt's where there is guidance.
    """

    def __init__(
        self,
        editor: torch.nn.Module,
        painter: torch.nn.Module,
        prompt: Embeddings,
        negative: Embeddings | None,
        editor_steps: int,
    ) -> None:
        super().__init__()
        self._editor = editor
        self._painter = painter
        self._rows = [prompt] if negative is None else [negative, prompt]
        self._left = editor_steps

    @property
    def config(self) -> Any:
        """The editor's."""
        return self._editor.config

    @property
    def device(self) -> torch.device:
        """Where the pipeline puts its tensors."""
        return self._editor.device  # type: ignore[return-value]

    @property
    def dtype(self) -> torch.dtype:
        """In what it computes."""
        return self._editor.dtype  # type: ignore[return-value]

    @property
    def max_seq(self) -> Any:
        """The editor's."""
        return self._editor.max_seq

    def forward(self, hidden_states: torch.Tensor, timesteps: torch.Tensor, **options: Any) -> Any:
        """Predict for latents of shape (1 or 2, channels, height, width)."""
        if self._left:
            self._left -= 1
            return self._editor(hidden_states=hidden_states, timesteps=timesteps, **options)
        own = {
            "encoder_hidden_states_t5": torch.cat([row.t5 for row in self._rows]),
            "encoder_hidden_states_llama3": torch.cat([row.llama for row in self._rows], dim=1),
            "pooled_embeds": torch.cat([row.pooled for row in self._rows]),
        }
        return self._painter(hidden_states=hidden_states, timesteps=timesteps, **(options | own))
