"""Colours as they were meant: what has a colour profile is converted to sRGB, which all models and Discord assume.

https://www.color.org/ICC1V42.pdf. What is converted is only ever the pixels; the profile itself is not kept.
"""

import io
from collections.abc import Mapping
from typing import Final

from PIL import Image, ImageCms

MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
"""Above every printer's profile in use; those of cameras and phones have a few hundred bytes."""
_MODES: Final[Mapping[str, str]] = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""Pillow's mode for each colour space of a profile that we convert from."""


def profile_of(image: Image.Image) -> bytes | None:
    """The colour profile that the file carries, as it came; None where there is none."""
    found = image.info.get("icc_profile")
    return found if isinstance(found, bytes) and found else None


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture as RGB, its colours converted from the profile to sRGB.

    A profile that cannot be read, or is of another kind than the picture, is as good as none: the colours are those
    of sRGB already.
    """
    transform = to_srgb(profile, image.mode)
    if transform is None:
        return image.convert("RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None  # it is not done in place
    return converted


def to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """What converts pictures of that mode; None where there is nothing to convert, or no telling how."""
    if profile is None or len(profile) > MAX_PROFILE_BYTES:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        description = source.profile.profile_description or ""
        if _MODES.get(source.profile.xcolor_space) != mode or description.startswith("sRGB"):
            return None
        return ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, ValueError, ImageCms.PyCMSError):
        return None
