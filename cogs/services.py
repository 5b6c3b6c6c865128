"""What the commands are given to work with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from config.catalogue import Catalogue
from config.settings import Settings
from db.jobs import JobStore
from jobs.administration import Administration
from jobs.album import Album
from jobs.attachments import Attachments
from jobs.confirmations import Confirmations
from jobs.dispatcher import Dispatcher
from jobs.erasures import Erasures
from jobs.estimates import Estimates
from jobs.events import EventStream
from jobs.intake import Intake
from jobs.metrics import Metrics
from jobs.offering import Offering
from jobs.originals import Originals
from jobs.outbox import Outbox
from jobs.pictures import Pictures
from jobs.queue import Queue
from jobs.quotas import Quotas
from jobs.removal import Removal
from jobs.reports import Reports
from jobs.safeguards import Safeguards


@dataclass(frozen=True)
class Services:
    """The rooms below, opened and owned by whoever starts the bot."""

    settings: Settings
    catalogue: Catalogue
    """Restricted to what is configured: every offer in it can be had."""
    order: tuple[str, ...]
    """Backends in order of preference."""
    intake: Intake
    confirmations: Confirmations
    pictures: Pictures
    attachments: Attachments
    dispatcher: Dispatcher
    queue: Queue
    offering: Offering
    estimates: Estimates
    quotas: Quotas
    administration: Administration
    reports: Reports
    safeguards: Safeguards
    erasures: Erasures
    outbox: Outbox
    removal: Removal
    album: Album
    originals: Originals
    events: EventStream
    jobs: JobStore
    """For reading."""
    clock: Callable[[], datetime]
    metrics: Metrics | None
    """None where nobody wants them."""
    loras: Callable[[], Sequence[str]]
    """Names of the LoRAs that the GPU workers have, as far as they have told."""
