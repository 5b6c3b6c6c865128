"""/imagine, /edit and /reroll, and the buttons and the modal that do the same."""

import asyncio
from collections.abc import Mapping, Sequence

import discord
from discord import app_commands

from cogs.answers import privately
from cogs.asking import asker
from cogs.command_options import CommandOption, picked_option, read_options, read_text
from cogs.completions import Completions
from cogs.contexts import Interaction, check_context
from cogs.door import Door
from cogs.flags import with_flags
from cogs.options import COUNT, PROMPT, SEED, options_for
from cogs.services import Services
from cogs.slash import SlashCommand, menu, slash
from cogs.sources import (
    MAX_LINK,
    LinkedMessage,
    Source,
    fetched,
    is_adult,
    of_attachment,
    of_avatar,
    of_link,
    of_message,
)
from cogs.ui import compose, texts
from cogs.ui.cards import backend
from cogs.ui.modals import LINK as LINK_FIELD
from cogs.ui.modals import PROMPT as PROMPT_FIELD
from cogs.ui.modals import SEED as SEED_FIELD
from cogs.ui.modals import edit_again, edit_picture, edit_source
from config.catalogue import Model
from config.larger import refitted
from config.parameters import Option
from config.reading import estimated_tokens
from config.sizes import Ratio, nearest
from domain.errors import Code, UserError
from domain.job import Job
from domain.request import MAX_SEED, ImageRequest, InputPicture, Kind
from jobs.house_rules import allows_model, default_model, free_models
from jobs.pictures import MAX_INPUT_BYTES
from jobs.variations import Strength, can_blend, varied


class PictureCommands:
    """The commands that make pictures."""

    def __init__(self, services: Services, door: Door, completions: Completions) -> None:
        self._services = services
        self._door = door
        self._imagine_options = options_for(Kind.IMAGINE, services.catalogue)
        self._edit_options = options_for(Kind.EDIT, services.catalogue)
        self._reroll_options = [
            picked_option("job", "Which job; left out: your last one in this channel", "job"),
            SEED,
            CommandOption(PROMPT.name, "Another prompt; left out: the same", PROMPT.annotation, PROMPT.read),
            COUNT,
        ]
        self._completions = completions

    def commands(self) -> list[SlashCommand | app_commands.ContextMenu]:
        """Those that can work with what is configured."""
        made: list[SlashCommand | app_commands.ContextMenu] = []
        completions = self._completions
        if self._imagine_options:
            made.append(
                slash(
                    "imagine",
                    "Paint a picture from words",
                    self.imagine,
                    self._imagine_options,
                    {
                        "prompt": completions.prompts,
                        "model": completions.models(Kind.IMAGINE),
                        "size": completions.sizes,
                        "scheduler": completions.words(Option.SCHEDULER, Kind.IMAGINE),
                        "lora": completions.loras,
                        "speed": completions.words(Option.SPEED, Kind.IMAGINE),
                    },
                    everywhere=self._is_free(Kind.IMAGINE),
                )
            )
            made.append(
                slash(
                    "compose",
                    "Write a long prompt in a form, with room for all of it",
                    self.compose,
                    everywhere=self._is_free(Kind.IMAGINE),
                )
            )
        if self._edit_options:
            made.append(
                slash(
                    "edit",
                    "Change a picture by an instruction",
                    self.edit,
                    self._edit_options,
                    {
                        "model": completions.models(Kind.EDIT),
                        "speed": completions.words(Option.SPEED, Kind.EDIT),
                    },
                    everywhere=self._is_free(Kind.EDIT),
                )
            )
        if made:
            made.append(
                slash(
                    "reroll",
                    "Paint one of your pictures again, with another seed",
                    self.reroll,
                    self._reroll_options,
                    {"job": completions.jobs_to_reroll},
                    everywhere=any(map(self._is_free, Kind)),
                )
            )
        return [*made, *self._menus()]

    def _menus(self) -> list[app_commands.ContextMenu]:
        if not self._edit_options:
            return []

        async def edit_message(interaction: Interaction, message: discord.Message) -> None:
            await self.edit_message(interaction, message)

        async def edit_avatar(interaction: Interaction, user: discord.User) -> None:
            await self.edit_avatar(interaction, user)

        everywhere = self._is_free(Kind.EDIT)
        return [
            menu("Edit picture", edit_message, everywhere=everywhere),
            menu("Edit avatar", edit_avatar, everywhere=everywhere),
        ]

    def _is_free(self, kind: Kind) -> bool:
        """Whether there is a model that can be used outside servers."""
        return bool(free_models(self._services.catalogue, kind))

    async def imagine(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/imagine"""
        self._door.check_place(interaction)
        given = self._read(Kind.IMAGINE, read_options(self._imagine_options, values))
        await self._order(interaction, await self._request(interaction, Kind.IMAGINE, given))

    async def compose(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/compose"""
        guild_id = self._door.check_place(interaction)
        settings = await self._services.administration.settings(guild_id)
        models = [model for model in self._services.catalogue.models(Kind.IMAGINE) if allows_model(settings, model.key)]
        negative = any(option.name == Option.NEGATIVE_PROMPT for option in self._imagine_options)
        await interaction.response.send_modal(compose.form(models, negative=negative))

    async def submit_compose(self, interaction: Interaction, values: Mapping[str, str]) -> None:
        """The form that /compose opened."""
        self._door.check_place(interaction)
        if not self._imagine_options:
            raise UserError(Code.BUTTON_STALE)
        filled = {"prompt": ""} | {name: text for name, text in values.items() if text.strip()}
        given = self._read(Kind.IMAGINE, read_options(self._imagine_options, filled))
        await self._order(interaction, await self._request(interaction, Kind.IMAGINE, given), counted=True)

    async def edit(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/edit"""
        self._door.check_place(interaction)
        given = self._read(Kind.EDIT, read_options(self._edit_options, values))
        image, link = given.pop("image", None), given.pop("link", None)
        further = [given.pop(name, None) for name in ("image2", "image3")]
        references = [of_attachment(one) for one in further if isinstance(one, discord.Attachment)]
        if isinstance(image, discord.Attachment) and link is None:
            await self._edit(interaction, given, of_attachment(image), references)
        elif isinstance(link, str) and image is None:
            source = of_link(interaction, link, self._services.attachments)
            await self._edit(interaction, given, source, references)
        else:
            raise UserError(Code.IMAGE_OR_LINK)

    async def edit_message(self, interaction: Interaction, message: discord.Message) -> None:
        """The menu of a message: its first picture, and a form for the instruction."""
        self._door.check_place(interaction)
        source = of_message(message, self._services.attachments)
        await interaction.response.send_modal(edit_source(source.url))

    async def edit_avatar(self, interaction: Interaction, user: discord.User | discord.Member) -> None:
        """The menu of a person: their avatar, and a form for the instruction."""
        self._door.check_place(interaction)
        await interaction.response.send_modal(edit_source(of_avatar(user).url))

    async def submit_source(self, interaction: Interaction, values: Mapping[str, str]) -> None:
        """The form that one of the menus opened; its link is no more trusted than any other."""
        self._door.check_place(interaction)
        if not self._edit_options:
            raise UserError(Code.BUTTON_STALE)
        link = read_text("link", MAX_LINK)(values.get(LINK_FIELD, ""))
        source = of_link(interaction, str(link), self._services.attachments)
        await self._edit(interaction, self._read(Kind.EDIT, _form(values)), source)

    async def _edit(
        self,
        interaction: Interaction,
        given: Mapping[str, object],
        source: Source | LinkedMessage,
        references: Sequence[Source] = (),
    ) -> None:
        if references and "model" not in given:
            given = {**given, "model": await self._model_for_several(interaction, 1 + len(references))}
        wish = await self._request(interaction, Kind.EDIT, given)
        model = self._services.catalogue.model(wish.model)
        if references and len(references) >= model.pictures_taken:
            raise UserError(Code.NO_OFFER, option=f"image{max(2, model.pictures_taken + 1)}", model=model.name)
        # What can be refused before anything is fetched never shows in public.
        await self._services.intake.check(wish, asker(interaction))
        for one in (source, *references):
            if isinstance(one, Source) and one.size > MAX_INPUT_BYTES:
                raise UserError(Code.PICTURE_TOO_LARGE, size=one.size, limit=MAX_INPUT_BYTES)

        async def prepare() -> ImageRequest:
            found = source
            if isinstance(found, LinkedMessage):
                found = await fetched(interaction, found, self._services.attachments)
            picture, *others = [await self._accepted(interaction, one) for one in (found, *references)]
            spoiler = wish.spoiler or any(one.spoiler for one in (found, *references))
            return wish.model_copy(update={"source": picture, "references": tuple(others), "spoiler": spoiler})

        await self._door.order_after(interaction, wish.prompt, prepare)

    async def _accepted(self, interaction: Interaction, source: Source) -> InputPicture:
        """One after the other: each may take half a gigabyte for a moment."""
        data = await self._services.attachments.fetch(source.url, source.size)
        accepted = await self._services.pictures.accept(data, source.filename)
        return accepted.model_copy(update={"adult": is_adult(interaction, source.url)})

    async def _model_for_several(self, interaction: Interaction, pictures: int) -> str:
        """The usual model, or the first that takes so many pictures where the usual one does not."""
        guild_id = check_context(interaction, self._services.settings)
        usual = await self._model(guild_id, Kind.EDIT, None)
        able = [usual, *self._services.catalogue.models(Kind.EDIT)]
        return next((model for model in able if model.pictures_taken >= pictures), usual).key

    async def reroll(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/reroll"""
        guild_id = self._door.check_place(interaction)
        given = read_options(self._reroll_options, values)
        job_id = given.pop("job", None)
        if job_id is not None:
            job: Job | None = await self._door.job(interaction, str(job_id))
        else:
            place = asker(interaction).place
            job = await self._services.jobs.last_in_channel(guild_id, place.channel_id, place.user_id)
        if job is None:
            raise UserError(Code.NOTHING_TO_REROLL)
        await self._again(interaction, job, given)

    async def press_reroll(self, interaction: Interaction, job_id: str) -> None:
        """The button Reroll: the same with a new seed."""
        await self._again(interaction, await self._door.job(interaction, job_id), {})

    async def press_retry(self, interaction: Interaction, job_id: str) -> None:
        """The button Try again: the same with the same seed."""
        job = await self._door.job(interaction, job_id)
        await self._again(interaction, job, {"seed": job.request.seed})

    async def press_vary(self, interaction: Interaction, job_id: str, strength: Strength | None) -> None:
        """The buttons Vary subtly and Vary strongly: the same with another seed's noise blended in.

        Without a ``strength``, or where noise can't be blended (which is said): the same with the seeds that follow.
        """
        guild_id = self._door.check_place(interaction)
        job = await self._door.job(interaction, job_id)
        blends = can_blend(job, self._services.catalogue, await self._services.administration.settings(guild_id))
        if blends and strength is not None:
            await self._check_source(job)
            await self._order(interaction, varied(job.request, strength), parent=job)
            return
        first = job.tasks[0].seed
        await self._again(interaction, job, {"seed": (first + job.request.count) % (MAX_SEED + 1)})
        if not blends:
            await privately(interaction, texts.fill(texts.NEXT_SEEDS, backend=backend(job)))

    async def press_larger(self, interaction: Interaction, job_id: str) -> None:
        """The button Redo in …: the same wish, seed and all, for the next better or larger model."""
        self._door.check_place(interaction)
        job = await self._door.job(interaction, job_id)
        model = self._services.catalogue.larger(job.request.model)
        if model is None:
            raise UserError(Code.BUTTON_STALE)
        await self._check_source(job)
        request, dropped = refitted(job.request, model, self._services.order)
        await self._door.order(interaction, request, parent=job)
        if dropped:
            options = ", ".join(f"`{option.value}`" for option in dropped)
            await privately(interaction, texts.fill(texts.LEFT_OUT, model=model.name, options=options))

    async def press_picture(self, interaction: Interaction, job_id: str, index: int) -> None:
        """The button Edit picture: a modal for the instruction."""
        self._door.check_place(interaction)
        job = await self._door.job(interaction, job_id)
        await self._picture_of(job, index)
        await interaction.response.send_modal(edit_picture(job, index))

    async def submit_picture(
        self, interaction: Interaction, job_id: str, index: int, values: Mapping[str, str]
    ) -> None:
        """The modal that Edit picture opened: /edit with that picture."""
        self._door.check_place(interaction)
        job = await self._door.job(interaction, job_id)
        name = await self._picture_of(job, index)
        given = self._read(Kind.EDIT, _form(values))
        # What was hidden stays hidden.
        given["spoiler"] = job.request.spoiler or job.tasks[index].flagged
        wish = await self._request(interaction, Kind.EDIT, given)
        await self._services.intake.check(wish, asker(interaction))

        async def prepare() -> ImageRequest:
            picture = await self._services.pictures.as_input(name)
            adult = job.request.adult or job.tasks[index].flagged
            return wish.model_copy(update={"source": picture.model_copy(update={"adult": adult})})

        await self._door.order_after(interaction, wish.prompt, prepare, parent=job)

    async def _picture_of(self, job: Job, index: int) -> str:
        """The file of one picture. Raises UserError where there is none, or nothing that could edit it."""
        if not self._edit_options or index >= len(job.tasks):
            raise UserError(Code.BUTTON_STALE)
        picture = job.tasks[index].picture
        if picture is None or not await asyncio.to_thread(self._services.pictures.path(picture.name).exists):
            raise UserError(Code.PICTURE_GONE)
        return picture.name

    async def press_edit(self, interaction: Interaction, job_id: str) -> None:
        """The button Edit: a modal with the prompt."""
        self._door.check_place(interaction)
        await interaction.response.send_modal(edit_again(await self._door.job(interaction, job_id)))

    async def submit_edit(self, interaction: Interaction, job_id: str, values: Mapping[str, str]) -> None:
        """The modal that Edit opened."""
        job = await self._door.job(interaction, job_id)
        await self._again(interaction, job, _form(values))

    async def _again(self, interaction: Interaction, job: Job, changes: Mapping[str, object]) -> None:
        self._door.check_place(interaction)
        await self._check_source(job)
        given = self._read(job.request.kind, changes)
        # Another seed has variations of its own.
        of_its_seed = {} if given.get("seed") == job.request.seed else {"variations": ()}
        # Intake draws a new seed where there is none, and checks everything anew.
        request = self._sized({**dict(job.request), "seed": None, **of_its_seed, **given})
        await self._order(interaction, request, parent=job)

    async def _order(
        self, interaction: Interaction, request: ImageRequest, *, parent: Job | None = None, counted: bool = False
    ) -> None:
        """Bring it in; where the model does not read all of the prompt (or it is ``counted``), say how much."""
        await self._door.order(interaction, request, parent=parent)
        model = self._services.catalogue.model(request.model)
        if model.reads is None:
            return
        tokens = estimated_tokens(request.prompt)
        if counted or tokens > model.reads:
            text = texts.READS if tokens <= model.reads else texts.READS_LESS
            await privately(interaction, texts.fill(text, tokens=tokens, limit=model.reads, model=model.name))

    async def _check_source(self, job: Job) -> None:
        """Raise UserError (PICTURE_GONE) where a picture that an edit began with is not there any more."""
        for picture in job.request.inputs:
            if not await asyncio.to_thread(self._services.pictures.path(picture.name).exists):
                raise UserError(Code.PICTURE_GONE)

    async def _request(self, interaction: Interaction, kind: Kind, given: Mapping[str, object]) -> ImageRequest:
        model = await self._model(check_context(interaction, self._services.settings), kind, given.get("model"))
        if model.kind is not kind:
            raise UserError(Code.MODEL_WRONG_KIND, model=model.name, command=kind.value)
        return self._sized({**given, "kind": kind, "model": model.key})

    def _read(self, kind: Kind, given: Mapping[str, object]) -> dict[str, object]:
        """What was given, with the flags in its prompt."""
        return with_flags(given, self._imagine_options if kind is Kind.IMAGINE else self._edit_options)

    def _sized(self, wish: Mapping[str, object]) -> ImageRequest:
        """The request; a ratio becomes the closest size that the model makes."""
        ratio = wish.get("size")
        if not isinstance(ratio, Ratio):
            return ImageRequest.model_validate(wish)
        model = self._services.catalogue.model(str(wish["model"]))
        request = ImageRequest.model_validate({**wish, "model": model.key, "size": None})
        size = nearest(model, ratio, request, self._services.order)
        if size is None:
            raise UserError(Code.NO_OFFER, option="size", model=model.name)
        return request.model_copy(update={"size": size})

    async def _model(self, guild_id: int, kind: Kind, wanted: object) -> Model:
        catalogue = self._services.catalogue
        if wanted is not None:
            return catalogue.model(str(wanted))
        settings = await self._services.administration.settings(guild_id)
        return default_model(settings, kind, catalogue, self._services.settings, self._services.order)


def _form(values: Mapping[str, str]) -> dict[str, object]:
    """The instruction or prompt of a form, and its seed where there is one."""
    seed = values.get(SEED_FIELD, "").strip()
    return {"prompt": PROMPT.read(values.get(PROMPT_FIELD, ""))} | ({"seed": SEED.read(seed)} if seed else {})
