"""Pictures are kept for as long as the operator has said, favourites longer."""

import asyncio
import logging
from typing import Final

from jobs.album import Album
from jobs.pictures import Pictures

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 3600


async def keep_swept(pictures: Pictures, album: Album) -> None:
    """Remove what is over its time, now and every hour; never returns."""
    while True:
        try:
            removed = await pictures.sweep(kept=await album.kept_longer())
        except OSError:
            log.exception("old pictures could not be removed; trying again later")
        else:
            if removed:
                log.info("removed %d old pictures", removed)
        await asyncio.sleep(SWEEP_SECONDS)
