"""The decoder is compiled for all sizes by three, decodes as before, and goes back to diffusers' where it has to."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from backends.worker.acceleration.accelerate import Means
from backends.worker.acceleration.decoder import compile_decoder
from tests.worker.acceleration.test_accelerate import Kernels
from tests.worker.conftest import TINY_I1

COMPILED = Means(grouped=True, compiled=True)
KINDS = [(16, 16), (8, 8), (16, 8)]
"""In latents: those that a warm-up decodes, in proportion."""


@pytest.fixture
def vae() -> Iterator[AutoencoderKL]:
    torch._dynamo.reset()
    yield AutoencoderKL.from_pretrained(TINY_I1, subfolder="vae").eval()
    torch._dynamo.reset()


@torch.no_grad()
def decoded(vae: Any, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    latents = torch.randn(1, vae.config.latent_channels, height, width, generator=generator)
    pixels: Tensor = vae.decode(latents, return_dict=False)[0]
    return pixels


def test_after_the_warm_up_no_size_is_compiled_for_and_pixels_are_the_same(vae: AutoencoderKL) -> None:
    sizes = [*KINDS, (12, 12), (6, 10), (16, 4), (14, 14), (4, 12)]
    before = [decoded(vae, *size) for size in sizes]
    kernels = Kernels()
    compile_decoder(vae, COMPILED, lambda: [decoded(vae, *size) for size in KINDS], kernels)
    known = kernels.made
    assert known == 3
    for size, wanted in zip(sizes, before, strict=True):
        assert torch.allclose(decoded(vae, *size), wanted, atol=1e-5)
    assert kernels.made == known


def test_tiles_are_decoded_by_the_same_kernels(vae: Any) -> None:
    kernels = Kernels()
    vae.use_tiling, vae.tile_latent_min_size, vae.tile_sample_min_size = True, 8, 64
    before = decoded(vae, 16, 16)
    compile_decoder(vae, COMPILED, lambda: None, kernels)
    assert torch.allclose(decoded(vae, 16, 16), before, atol=1e-5)
    assert 1 <= kernels.made <= 4  # tiles at the edges are smaller


def test_a_hook_on_the_decoder_is_called_as_before(vae: AutoencoderKL) -> None:
    """The one that makes room where memory is tight."""
    called: list[None] = []
    vae.decoder.register_forward_pre_hook(lambda *_: called.append(None))
    compile_decoder(vae, COMPILED, lambda: None, Kernels())
    decoded(vae, 8, 8)
    assert called == [None]


def test_a_compiler_that_fails_leaves_diffusers_own_and_a_line_in_the_log(
    vae: AutoencoderKL, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: Any, example: object) -> Any:
        raise RuntimeError("no kernel for this machine")

    before = decoded(vae, 8, 8)
    with caplog.at_level(logging.WARNING):
        compile_decoder(vae, COMPILED, lambda: decoded(vae, 8, 8), broken)
    assert "decoding as diffusers does" in caplog.text
    assert "forward" not in vars(vae.decoder)
    assert torch.equal(decoded(vae, 8, 8), before)


def test_it_is_compiled_where_the_means_say_so_and_once_for_models_that_share_it(vae: AutoencoderKL) -> None:
    kernels, tried = Kernels(), []
    compile_decoder(vae, Means(grouped=True), lambda: tried.append("no"), kernels)
    assert "forward" not in vars(vae.decoder)
    for name in ("I1", "E1"):
        compile_decoder(vae, COMPILED, lambda name=name: tried.append(name), kernels)  # type: ignore[misc]
    assert tried == ["I1"]
