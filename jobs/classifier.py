"""A moderator behind OpenAI's moderations API, which other servers speak, too.

https://platform.openai.com/docs/api-reference/moderations
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Final

import httpx
from pydantic import BaseModel, Field, SecretStr, ValidationError

from config.blocklist import load_blocklist
from config.settings import Settings
from domain.errors import Code, UserError
from domain.request import ImageRequest
from domain.safety import Blocked
from jobs.moderation import Moderator, ModeratorError, Verdict, WordModerator

SECONDS: Final = 2.0
"""A prompt waits no longer for its verdict: Discord wants the answer within three."""
MAX_BYTES: Final = 256 * 1024
ADULT: Final = frozenset({"sexual"})
"""Categories of what belongs into age-restricted channels alone."""
HARMLESS: Final = frozenset({"violence"})
"""Categories that many a picture of a battle has."""
NEVER: Final = frozenset({"sexual/minors"})
"""Categories that count in a negative prompt, too, which otherwise names what is not wanted."""


class _Result(BaseModel):
    flagged: bool
    categories: dict[str, bool | None] = {}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, is_so in self.categories.items() if is_so)


class _Answer(BaseModel):
    results: Annotated[list[_Result], Field(min_length=1)]


class Classifier:
    """Asks one server. ``url`` is its base, such as https://api.openai.com/v1."""

    name = "classifier"

    def __init__(
        self, client: httpx.AsyncClient, url: str, key: SecretStr | None, model: str | None, seconds: float = SECONDS
    ) -> None:
        self._client = client
        self._url = f"{url.rstrip('/')}/moderations"
        self._key = key
        self._model = model
        self._seconds = seconds

    async def review(self, request: ImageRequest, blocked: Blocked) -> Verdict:
        """See ``Moderator``; a server's own words are not the classifier's business."""
        texts = [request.prompt, *([request.negative_prompt] if request.negative_prompt else [])]
        prompt, *negative = await self._ask(texts)
        if any(result.names & NEVER for result in negative):
            return Verdict(UserError(Code.PROMPT_BLOCKED))
        if not prompt.flagged:
            return Verdict()
        bad = prompt.names - ADULT - HARMLESS
        # One that flags without saying why is believed.
        if bad or not prompt.names:
            return Verdict(UserError(Code.PROMPT_BLOCKED))
        return Verdict(adult=bool(prompt.names & ADULT))

    async def _ask(self, texts: list[str]) -> list[_Result]:
        body: dict[str, object] = {"input": texts} | ({"model": self._model} if self._model else {})
        headers = {"Authorization": f"Bearer {self._key.get_secret_value()}"} if self._key is not None else {}
        data = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream(
                    "POST", self._url, json=body, headers=headers, follow_redirects=False, timeout=self._seconds
                ) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise ModeratorError(f"it answered {response.status_code}")
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise ModeratorError("its answer is too long")
            results = _Answer.model_validate_json(bytes(data)).results
        except (httpx.HTTPError, TimeoutError) as error:
            raise ModeratorError(f"it can't be reached: {type(error).__name__}") from error
        except ValidationError as error:
            raise ModeratorError("its answer can't be read") from error
        if len(results) != len(texts):
            raise ModeratorError("its answer is not about what was asked")
        return results


@asynccontextmanager
async def configured_moderators(settings: Settings) -> AsyncIterator[Sequence[Moderator]]:
    """Those that the settings want: words always, a classifier where one is named."""
    words = WordModerator(load_blocklist(settings.easel_blocklist))
    if settings.easel_moderation_url is None:
        yield [words]
        return
    async with httpx.AsyncClient(trust_env=False) as client:
        url, key = str(settings.easel_moderation_url), settings.easel_moderation_api_key
        yield [words, Classifier(client, url, key, settings.easel_moderation_model)]
