"""Input pictures as they arrive at the worker: hostile until decoded."""

import base64
import binascii
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from domain.errors import Code, UserError

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 50_000_000


def decode_source(text: str) -> Image.Image:
    """The picture in a base64 text, upright, RGB, transparent parts on white.

    Raises UserError (PICTURE_UNREADABLE, PICTURE_TOO_MANY_PIXELS).
    """
    try:
        data = base64.b64decode(text, validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise UserError(Code.PICTURE_TOO_MANY_PIXELS, pixels=image.width * image.height, limit=MAX_PIXELS)
        return _flat(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError:
        raise UserError(Code.PICTURE_TOO_MANY_PIXELS, pixels=2 * MAX_PIXELS, limit=MAX_PIXELS) from None
    except (binascii.Error, UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        raise UserError(Code.PICTURE_UNREADABLE, filename="image") from error


def _flat(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
