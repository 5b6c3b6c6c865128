"""What is offered while somebody types into an option."""

from collections.abc import Sequence

from cogs.asking import can_cancel, manages_server
from cogs.contexts import Interaction, guild_of
from cogs.options import words_of
from cogs.services import Services
from cogs.slash import MAX_CHOICE_CHARACTERS, Complete
from cogs.ui import words
from cogs.ui.language import say, translated
from config.catalogue import EXACT, Catalogue, Model
from config.parameters import Option, SizeParameter
from config.sizes import NAMED
from config.suggestions import suggested_prompts
from domain.errors import UserError
from domain.job import Job
from domain.request import ImageRequest, Kind, Size

# The sizes that HiDream-I1 was trained on (its ComfyUI and Gradio front ends offer these), and smaller ones.
COMMON_SIZES = tuple(
    Size(width, height)
    for width, height in [
        (1024, 1024), (768, 1360), (1360, 768), (880, 1168), (1168, 880), (1248, 832), (832, 1248),
        (768, 768), (1024, 768), (768, 1024), (1280, 720), (720, 1280), (512, 512),
    ]
)  # fmt: skip
RATIOS = (*NAMED, "16:9", "9:16", "4:3", "3:4")
JOBS = 25


class Completions:
    """Autocomplete for every option that has it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._suggested = suggested_prompts(services.catalogue)

    def models(self, kind: Kind) -> Complete:
        """The models for one kind of wish."""

        async def complete(interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
            wanted = typed.strip().casefold()
            usable = await self._services.offering.usable(guild_of(interaction), kind)
            return [
                (words.label(f"{model.name} – {translated(model.summary)}"), model.key)
                for model in usable
                if wanted in model.key or wanted in model.name.casefold()
            ]

        return complete

    def words(self, option: Option, kind: Kind) -> Complete:
        """The words for an option that is a choice: those of the model that was chosen, or of all."""

        async def complete(interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
            wanted = typed.strip().casefold()
            found = words_of(option, kind, Catalogue(self._chosen(interaction, kind)))
            if option is Option.SPEED and not found:
                # No model lists it, and all can do it.
                found = [EXACT]
            return [(word, word) for word in found if wanted in word.casefold()]

        return complete

    async def sizes(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """Sizes that the chosen model (or any) can make."""
        models = self._chosen(interaction, Kind.IMAGINE)
        wanted = typed.strip().casefold().replace("*", "x").replace("×", "x")
        found = [size for size in _sizes(models) if str(size).startswith(wanted)]
        shown = [(f"{size.width} × {size.height} ({_shape(size)})", str(size)) for size in found]
        if len(_sizes(models)) == 1:
            return shown
        ratios = [(f"{word} ({NAMED[word]})" if word in NAMED else word, word) for word in RATIOS]
        return [*shown, *(choice for choice in ratios if choice[1].startswith(wanted))]

    def _chosen(self, interaction: Interaction, kind: Kind) -> list[Model]:
        """The model that is chosen in the same command; all of the kind where none is, or none that can be."""
        models = self._services.catalogue.models(kind)
        chosen = getattr(interaction.namespace, "model", None)
        if isinstance(chosen, str) and chosen:
            try:
                model = self._services.catalogue.model(chosen)
            except UserError:
                return models
            if model in models:
                return [model]
        return models

    async def loras(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """The GPU workers' LoRAs and the operator's list, for the last of those that are typed, separated by commas."""
        before, comma, last = typed.rpartition(",")
        wanted = last.strip().casefold()
        kept = f"{before}{comma} " if comma else ""
        known = {name: name for name in self._services.loras()}
        if "runware" in self._services.order:
            # What people read as a name is sent as the id that stands for it.
            known |= {name: air or name for name, air in self._services.settings.runware_loras.items()}
        found = {f"{kept}{value}": f"{kept}{name}" for name, value in known.items() if wanted in name.casefold()}
        # Hosted services have more than anybody lists, and weights are typed by hand: that stays a choice.
        choices = ({typed: typed} if wanted else {}) | found
        return [(words.label(shown), value) for value, shown in choices.items()]

    async def prompts(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """The member's own prompts for /imagine in this server, newest first, then what the model is known for.

        Those that do not fit into a choice are left out.
        """
        wanted = typed.strip().casefold()
        jobs = await self._services.jobs.history(guild_of(interaction), interaction.user.id, JOBS * 4)
        recent = dict.fromkeys(job.request.prompt for job in jobs if job.request.kind is Kind.IMAGINE)
        recent |= dict.fromkeys(self._suggested)
        found = [
            (words.label(prompt), prompt)
            for prompt in recent
            if wanted in prompt.casefold() and len(prompt) <= MAX_CHOICE_CHARACTERS and prompt.casefold() != wanted
        ]
        # Enter takes the first choice: what was typed must not become another prompt by it.
        return [(words.label(typed), typed), *found] if wanted and found else found

    async def jobs_to_reroll(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """The member's own jobs, newest first."""
        jobs = await self._services.jobs.history(guild_of(interaction), interaction.user.id, JOBS * 4)
        return _choices(jobs, typed)

    async def jobs_to_cancel(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """The member's own jobs that are not over; everybody's for those who manage messages."""
        jobs = await self._services.jobs.open_in(guild_of(interaction))
        return _choices([job for job in jobs if can_cancel(interaction, job.place)], typed)

    async def rules(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """The server's quota rules."""
        if interaction.guild_id is None or not manages_server(interaction):
            return []
        rules = await self._services.quotas.rules(interaction.guild_id)
        texts = [(f"{rule.id}: {_named(interaction, words.rule(rule))}", str(rule.id)) for rule in rules]
        return [(words.label(text), value) for text, value in texts if typed.strip().casefold() in text.casefold()]


def _choices(jobs: Sequence[Job], typed: str) -> Sequence[tuple[str, str]]:
    wanted = typed.strip().casefold()
    return [
        (words.label(f"{job.id}: {job.request.prompt}"), job.id)
        for job in jobs
        if wanted in job.id.casefold() or wanted in job.request.prompt.casefold()
    ]


def _sizes(models: Sequence[Model]) -> list[Size]:
    offers = [offer for model in models for offer in model.offers]
    parameters = [p for offer in offers if isinstance(p := offer.parameters.get(Option.SIZE), SizeParameter)]
    candidates = dict.fromkeys([*(p.default for p in parameters), *COMMON_SIZES])
    candidates |= dict.fromkeys(size for p in parameters for size in p.choices)

    def can_be_made(size: Size) -> bool:
        return any(
            not offer.objections(ImageRequest(kind=Kind.IMAGINE, model=offer.model_key, prompt="size", size=size))
            for offer in offers
        )

    return [size for size in candidates if can_be_made(size)]


def _shape(size: Size) -> str:
    if size.width == size.height:
        return say("square")
    return say("landscape") if size.width > size.height else say("portrait")


def _named(interaction: Interaction, text: str) -> str:
    """Choices show no mentions: names instead."""
    guild = interaction.guild
    if guild is None:
        return text
    for role in guild.roles:
        text = text.replace(f"<@&{role.id}>", f"@{role.name}")
    for channel in guild.channels:
        text = text.replace(f"<#{channel.id}>", f"#{channel.name}")
    return text
