"""In which language an interaction is answered, and its commands are shown."""

from typing import Final

import discord
from discord import app_commands

from cogs.contexts import Context, Interaction, context_of, guild_of
from cogs.ui.language import speak, speaking, translated
from domain.language import Language

_PUBLIC: Final = "language-in-public"
_OF_JOBS: Final = "language-of-jobs"
"""Keys in ``Interaction.extras``."""
_Location = app_commands.TranslationContextLocation
_NAMES: Final = frozenset({_Location.command_name, _Location.group_name, _Location.parameter_name})
"""What stays English: it is typed, also into flags, and every sentence and page names it so."""


async def choose(interaction: Interaction) -> None:
    """Speak, for the rest of this task, the language that the server's admins have set.

    Where they have set none, each member is spoken to in their own, and all together in that of the server; outside
    servers in that of who asked.
    """
    mine, ours = Language.of(interaction.locale.value), _of_server(interaction)
    speak(mine)
    interaction.extras[_PUBLIC] = ours
    if context_of(interaction) is not Context.SERVER:
        return
    settings = await interaction.client.services.administration.settings(guild_of(interaction))
    if settings.language is not None:
        mine = ours = Language.of(settings.language)
        speak(mine)
        interaction.extras[_PUBLIC] = ours
    interaction.extras[_OF_JOBS] = mine if settings.private_results else ours


def public_language(interaction: Interaction) -> Language:
    """Of what everybody can see of the answer."""
    chosen = interaction.extras.get(_PUBLIC)
    return chosen if isinstance(chosen, Language) else _of_server(interaction)


def language_of_jobs(interaction: Interaction) -> Language:
    """Of the cards and results of what is asked for: everybody sees them, or the member alone."""
    chosen = interaction.extras.get(_OF_JOBS)
    return chosen if isinstance(chosen, Language) else public_language(interaction)


def _of_server(interaction: Interaction) -> Language:
    locale = interaction.guild_locale or interaction.locale
    return Language.of(locale.value)


class CommandTranslator(app_commands.Translator):
    """Descriptions, choices and menus in every language that has a catalogue."""

    async def translate(
        self, string: app_commands.locale_str, locale: discord.Locale, context: app_commands.TranslationContextTypes
    ) -> str | None:
        """The catalogue's word for it; None: Discord shows the English one."""
        language = Language.of(locale.value)
        # Menus are pressed, not typed.
        is_typed = context.location in _NAMES and not isinstance(context.data, app_commands.ContextMenu)
        if language is Language.ENGLISH or is_typed:
            return None
        with speaking(language):
            found = translated(string.message)
        return found if found != string.message else None
