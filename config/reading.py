"""How much of a prompt a model reads.

The bot has no tokenizers: they lie with the weights. What is told here is an estimate and is worded as one.
"""

import re
from math import ceil
from typing import Final

# Words of letters and digits, each character of scripts without spaces between words, and single signs.
_PIECE: Final = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+|[^\s]")
_LETTERS_A_TOKEN: Final = 6
"""Most English words are one token or two for T5 and Llama 3."""
_OTHER_LETTERS_A_TOKEN: Final = 3
"""Words of other alphabets are cut into more pieces."""


def estimated_tokens(text: str) -> int:
    """About how many tokens a text encoder makes of the text."""
    return sum(_tokens(piece) for piece in _PIECE.findall(text))


def _tokens(piece: str) -> int:
    return ceil(len(piece) / (_LETTERS_A_TOKEN if piece.isascii() else _OTHER_LETTERS_A_TOKEN))
