"""Rate limits: real buckets with Discord's headers, generous unless a test narrows them.

https://discord.com/developers/docs/topics/rate-limits
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_id", "interaction_token")


@dataclass
class Bucket:
    limit: int
    per: float
    used: int = 0
    resets_at: float = 0.0


@dataclass
class RateLimits:
    """``limit`` requests in ``per`` seconds for each bucket (a route template with its major parameters)."""

    limit: int = 100
    per: float = 1.0
    now: Callable[[], float] = time.monotonic
    overrides: dict[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    """Other limits by method and template: ``{("POST", "/channels/{channel_id}/messages"): (5, 5.0)}``."""
    _buckets: dict[tuple[str, ...], Bucket] = field(default_factory=dict)

    def take(self, method: str, template: str, parameters: dict[str, str]) -> tuple[bool, dict[str, str]]:
        """Count a request. Tells whether it may pass, and the headers to answer with."""
        major = tuple(parameters[name] for name in MAJOR if name in parameters)
        key = (method, template, *major)
        now = self.now()
        bucket = self._buckets.get(key)
        if bucket is None or now >= bucket.resets_at:
            if len(self._buckets) > 10_000:
                self._buckets = {k: b for k, b in self._buckets.items() if b.resets_at > now}
            limit, per = self.overrides.get((method, template), (self.limit, self.per))
            bucket = self._buckets[key] = Bucket(limit, per, 0, now + per)
        passes = bucket.used < bucket.limit
        if passes:
            bucket.used += 1
        left = max(0.0, bucket.resets_at - now)
        return passes, {
            "X-RateLimit-Limit": str(bucket.limit),
            "X-RateLimit-Remaining": str(bucket.limit - bucket.used),
            "X-RateLimit-Reset": f"{time.time() + left:.3f}",
            "X-RateLimit-Reset-After": f"{left:.3f}",
            "X-RateLimit-Bucket": hashlib.blake2b(f"{method}{template}".encode(), digest_size=16).hexdigest(),
        }
