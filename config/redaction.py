"""Keeps what is secret out of the log, whoever writes there: libraries log headers, vendors echo keys in answers."""

import json
import logging
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from pydantic import SecretStr

from config.settings import Settings

SHORTEST = 6
"""Shorter ones are placeholders; taking them out would make the log unreadable."""
_TRACEBACKS = logging.Formatter()


class Redaction(logging.Filter):
    """Put it on a handler: every record that passes is written without the secrets, tracebacks included."""

    def __init__(self, secrets: Iterable[str], *, shortest: int = SHORTEST) -> None:
        super().__init__()
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= shortest
            for spelling in (
                secret,
                json.dumps(secret)[1:-1],
                repr(secret)[1:-1],
                quote(secret, ""),
                quote_plus(secret),
            )
        }
        # One secret may begin with another.
        self._spellings = sorted(spellings, key=len, reverse=True)

    @classmethod
    def of(cls, settings: Settings) -> "Redaction":
        """For every secret among the settings."""
        values = [getattr(settings, name) for name in Settings.model_fields]
        return cls(value.get_secret_value() for value in values if isinstance(value, SecretStr))

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record; drops none."""
        record.msg, record.args = self.redacted(record.getMessage()), ()
        if record.exc_info and record.exc_text is None:
            record.exc_text = _TRACEBACKS.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self.redacted(record.exc_text)
        if record.stack_info:
            record.stack_info = self.redacted(record.stack_info)
        return True

    def redacted(self, text: str) -> str:
        """The text with an ellipsis in the place of each secret."""
        for spelling in self._spellings:
            text = text.replace(spelling, "…")
        return text


def _spellings(secret: str) -> tuple[str, ...]:
    """As it is, inside JSON, inside a ``repr``, inside a URL."""
    return secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, ""), quote_plus(secret)
