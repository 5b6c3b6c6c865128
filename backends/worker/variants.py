"""The published ways to run the HiDream weights, and which catalogue model a local folder or hub id is.

Imports no torch: the bot reads it too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Literal

from domain.request import Kind


class Sampler(StrEnum):
    """The schedulers with which HiDream was published, by their names in diffusers."""

    LCM = "FlowMatchLCMScheduler"
    UNIPC = "UniPCMultistepScheduler"


@dataclass(frozen=True, slots=True)
class Variant:
    """How to run one set of weights when nothing else is said."""

    name: str
    kind: Kind
    steps: int
    guidance: float
    """Classifier-free guidance scale; up to 1 the negative prompt is not used and a step costs half."""
    shift: float
    """Moves the noise levels towards the noisy end (Esser et al. 2024, section 5.3.2)."""
    sampler: Sampler
    image_guidance: float = 0
    """Edits: how strongly the source picture guides."""
    keep_length: bool = False
    """Edits: guidance may not make the prediction longer than it was without (E1.1's ``clip_cfg_norm``)."""
    square: bool = False
    """Edits: the model knows squares only; other pictures are squeezed into one and stretched back."""
    wants_description: bool = False
    """Edits: the prompt is an instruction and a description of the picture to come, in E1's format."""
    refine: float = 0
    """Edits: the share of the steps, at the end, that HiDream-I1-Full may take (``refine_strength``)."""


# Model cards of HiDream-I1-{Dev,Full,Fast}; inference scripts of HiDream-E1 and E1.1.
VARIANTS: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("dev", Kind.IMAGINE, 28, 0.0, 6.0, Sampler.LCM),
        Variant("full", Kind.IMAGINE, 50, 5.0, 3.0, Sampler.UNIPC),
        Variant("fast", Kind.IMAGINE, 16, 0.0, 3.0, Sampler.LCM),
        Variant(
            "e1",
            Kind.EDIT,
            steps=28,
            guidance=5.0,
            shift=3.0,
            sampler=Sampler.UNIPC,
            image_guidance=4.0,
            square=True,
            wants_description=True,
            refine=0.3,
        ),
        Variant("e1.1", Kind.EDIT, 28, 3.0, 3.0, Sampler.UNIPC, image_guidance=1.5, keep_length=True),
    )
}

BUNDLED_EDIT = Variant("e1", Kind.EDIT, steps=28, guidance=0.0, shift=3.0, sampler=Sampler.UNIPC, square=True)
"""The bundled editor was trained on bare instructions, as E1.1 was, on squares, and without guidance."""

BUNDLED = "tiny"
"""The name of the bundled models in ``EASEL_LOCAL_MODEL`` and ``EASEL_LOCAL_EDIT_MODEL``."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model on the worker's machine."""

    key: str
    """Its key in the catalogue."""
    variant: Variant
    name: str
    """``tiny``, a folder, or a hub id."""

    @property
    def kind(self) -> Kind:
        """What it can be asked for."""
        return self.variant.kind

    def variant_named(self, name: str) -> Variant | None:
        """The variant to run: its own, or another of the same kind (one set of weights may know several)."""
        if name == self.variant.name:
            return self.variant
        other = VARIANTS.get(name)
        return other if other is not None and other.kind is self.kind else None

    @property
    def shown_name(self) -> str:
        """The name as people may read it: a folder without the path to it."""
        return self.name if HUB_ID.fullmatch(self.name) else PurePath(self.name).name


def local_imagine_model(name: str) -> LocalModel:
    """What ``EASEL_LOCAL_MODEL`` names. Full and Fast are told by the last part of the name; the rest is Dev."""
    if name == BUNDLED:
        return LocalModel("tiny", VARIANTS["dev"], name)
    last = PurePath(name).name.casefold()
    variant: Literal["full", "fast", "dev"] = "full" if "full" in last else "fast" if "fast" in last else "dev"
    return LocalModel(f"hidream-i1-{variant}", VARIANTS[variant], name)


def local_edit_model(name: str) -> LocalModel:
    """What ``EASEL_LOCAL_EDIT_MODEL`` names: E1.1 where the name says so, else E1."""
    if name == BUNDLED:
        return LocalModel("tiny-edit", BUNDLED_EDIT, name)
    if re.search(r"e1[-_.]1", PurePath(name).name.casefold()):
        return LocalModel("hidream-e1.1", VARIANTS["e1.1"], name)
    return LocalModel("hidream-e1-full", VARIANTS["e1"], name)


def local_models(imagine: str | None, edit: str | None) -> tuple[LocalModel, ...]:
    """The models that the two settings name, in the order in which they are loaded."""
    found = []
    if imagine is not None:
        found.append(local_imagine_model(imagine))
    if edit is not None:
        found.append(local_edit_model(edit))
    return tuple(found)
