"""/settings policy, backends and spillover: where a server's pictures are made."""

from collections.abc import Mapping, Sequence
from typing import Final

from cogs.command_options import CommandOption, Read, choice_option, flag_option, malformed, read_options
from cogs.contexts import Interaction
from cogs.server_settings import ServerSettings
from cogs.slash import SlashCommand, slash
from config.parameters import not_a_choice
from domain.guild import Policy

ALL: Final = "all"
_POLICIES: Final = tuple(policy.value for policy in Policy)
_POLICY: Final = (
    choice_option(
        "policy", "order: the operator's; cheapest; fastest: the picture that is done soonest", _POLICIES, required=True
    ),
)
_SPILLOVER: Final = (
    flag_option("on", "Whether jobs may cost money while a backend that costs nothing is merely busy", required=True),
)


class RoutingCommands:
    """The commands about backends. ``order``: those that are configured, in the operator's order."""

    def __init__(self, server: ServerSettings, order: Sequence[str]) -> None:
        self._server = server
        self._order = order
        self._backends = (
            CommandOption(
                "backends",
                "Those that may be used, separated by commas; all: whichever there are",
                str,
                read_backends(order),
                required=True,
                autocomplete="backends",
            ),
        )

    def commands(self) -> list[SlashCommand]:
        """All of them, for the group."""
        complete = {"backends": self.complete_backends}
        return [
            slash("policy", "Choose by what a backend is picked", self.policy, _POLICY),
            slash("backends", "Choose which backends may be used", self.backends, self._backends, complete),
            slash("spillover", "Let jobs cost money while what is free is busy", self.spillover, _SPILLOVER),
        ]

    async def policy(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings policy"""
        self._server.admin(interaction)
        await self._server.changed(interaction, policy=Policy(str(read_options(_POLICY, values)["policy"])))

    async def backends(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings backends"""
        self._server.admin(interaction)
        await self._server.changed(interaction, allowed_backends=self._backends[0].read(values.get("backends", "")))

    async def spillover(self, interaction: Interaction, values: Mapping[str, object]) -> None:
        """/settings spillover"""
        self._server.admin(interaction)
        await self._server.changed(interaction, spill_to_paid=read_options(_SPILLOVER, values)["on"])

    async def complete_backends(self, interaction: Interaction, typed: str) -> Sequence[tuple[str, str]]:
        """One more backend than was typed."""
        begun, _, last = typed.casefold().rpartition(",")
        taken = [name.strip() for name in begun.split(",") if name.strip() in self._order]
        wanted = last.strip()
        found = [",".join([*taken, name]) for name in self._order if name not in taken and wanted in name]
        if not taken and wanted in ALL:
            found.append(ALL)
        return [(text, text) for text in found]


def read_backends(order: Sequence[str]) -> Read:
    """Backends of ``order``, separated by commas; None for all of them."""

    def read(value: object) -> tuple[str, ...] | None:
        names = [name.strip() for name in str(value).casefold().split(",") if name.strip()]
        if names == [ALL]:
            return None
        if not names:
            raise malformed("backends", value, "backends separated by commas, or all")
        for name in names:
            if name not in order:
                raise not_a_choice("backends", name, [*order, ALL])
        return tuple(dict.fromkeys(names))

    return read
