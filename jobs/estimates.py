"""What a job costs and how long it takes: the catalogue's guess until the ledger knows better."""

from collections.abc import Sequence
from dataclasses import dataclass

from config.catalogue import Offer
from db.jobs import JobStore
from domain.money import MicroUSD
from domain.quota import Amounts
from domain.request import ImageRequest

_NEWEST_WEIGHT = 0.2
_LONGEST_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Quote:
    """What a request may cost at the most, over the offers that can take it."""

    offers: tuple[Offer, ...]
    """In order of preference."""
    price: MicroUSD
    seconds: float
    """On the preferred offer."""
    amounts: Amounts
    """What has to be reserved."""


class Estimates:
    """Seconds a picture by offer: a moving average of what such pictures really took."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    async def learn_from(self, jobs: JobStore) -> None:
        """Begin with what the database remembers."""
        self._seconds.update(await jobs.usual_seconds())

    def learn(self, offer_key: str, seconds: float) -> None:
        """Take in what one picture took; what cannot be true is not believed."""
        if not 0 < seconds < _LONGEST_SECONDS:
            return
        known = self._seconds.get(offer_key)
        self._seconds[offer_key] = seconds if known is None else known + (seconds - known) * _NEWEST_WEIGHT

    def seconds(self, offer: Offer) -> float:
        """What one picture of the offer usually takes."""
        return self._seconds.get(offer.key, offer.seconds)

    def quote(self, request: ImageRequest, offers: Sequence[Offer]) -> Quote:
        """The highest price over the offers, and the seconds on the first of them."""
        seconds = self.seconds(offers[0]) * request.count
        price = MicroUSD(max(offer.price_of(request) for offer in offers) * request.count)
        on_our_gpu = [self.seconds(offer) * request.count for offer in offers if offer.backend == "worker"]
        return Quote(
            offers=tuple(offers),
            price=price,
            seconds=seconds,
            amounts=Amounts(
                images=request.count,
                gpu_milliseconds=round(max(on_our_gpu, default=0.0) * 1000),
                micro_usd=price,
            ),
        )
