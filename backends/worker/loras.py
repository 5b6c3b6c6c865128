"""LoRAs that the operator put into a folder, found by name and never by path. Imports no torch."""

import re
from pathlib import Path
from typing import Final

from config.parameters import not_a_choice
from domain.errors import Code, UserError

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9:@._-]{0,199}$"
"""The names that a request may carry (``domain.request.Lora``); files called otherwise cannot be asked for."""
SUFFIX: Final = ".safetensors"
"""The one format that is read: it holds numbers and no code."""
MAX_LORAS: Final = 5
"""LoRAs of one picture."""
MAX_WEIGHT: Final = 4.0
"""Of either sign; Runware's range."""


class LoraFolder:
    """The ``.safetensors`` files of a folder (not of folders in it), each named by its file without the suffix.

    It is read anew each time: a file that is put in can be used at once.
    """

    def __init__(self, folder: Path | None) -> None:
        """``None``: there are no LoRAs."""
        self._folder = folder

    def names(self) -> tuple[str, ...]:
        """All LoRAs, by alphabet."""
        return tuple(sorted(self._files(), key=str.casefold))

    def file(self, name: str, model: str) -> Path:
        """Where the LoRA of that name lies; ``model`` is for the error.

        Raises UserError: OPTION_NOT_A_CHOICE with what there is, NO_OFFER where there is none at all.
        """
        files = self._files()
        if not files:
            raise UserError(Code.NO_OFFER, option="lora", model=model)
        if name not in files:
            raise not_a_choice("lora", name, sorted(files, key=str.casefold))
        return files[name]

    def _files(self) -> dict[str, Path]:
        if self._folder is None:
            return {}
        try:
            paths = [path for path in self._folder.iterdir() if path.suffix == SUFFIX and path.is_file()]
        except OSError:
            # Gone, or not ours to read: `doctor` says so. Whoever asks for a LoRA is told that there is none.
            return {}
        return {path.stem: path for path in paths if re.fullmatch(NAME_PATTERN, path.stem)}
