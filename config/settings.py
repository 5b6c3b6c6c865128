"""Everything an operator can set. ``config.loading`` says where it is read from."""

import ipaddress
import re
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    HttpUrl,
    SecretStr,
    UrlConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import Url
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from config.listening import PrivateAddress, PublicAddress
from domain.money import FREE, MicroUSD, micro_usd
from domain.request import LORA_ID

BACKEND_ORDER = ("worker", "wavespeed", "runware", "comfyui", "openai")
"""Every backend that this version speaks to, in the order in which it is tried unless set otherwise."""


class LocalSpeed(StrEnum):
    """How the worker computes."""

    AUTO = "auto"
    """With every means that leaves the picture the same within rounding."""
    PLAIN = "plain"
    """As diffusers does."""
    FP8 = "fp8"
    """With 8-bit products too: faster, and the pictures differ a little."""


class LocalMemory(StrEnum):
    """How much of the GPU's memory the worker takes."""

    AUTO = "auto"
    """The first of the following that fits into what is free."""
    FULL = "full"
    """Everything stays on the GPU."""
    OFFLOAD = "offload"
    """What does not fit waits in main memory: the text encoders between prompts, a model while another paints."""
    FP8 = "fp8"
    """As ``offload``, with weights of 8 bits: the pictures differ a little."""
    NF4 = "nf4"
    """As ``offload``, with weights of 4 bits: the pictures differ more. Needs the package bitsandbytes."""


class DirectMessages(StrEnum):
    """Whether the bot works outside servers: in direct messages, and where a person's account brings it."""

    OFF = "off"
    LOCAL = "local"
    """With the operator's own machines, and nothing that costs money."""


WebSocketUrl = Annotated[Url, UrlConstraints(allowed_schemes=["ws", "wss"])]


class Settings(BaseSettings):
    """All settings, validated. Field names are the variables' names in lower case."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=False, env_ignore_empty=True)

    discord_token: SecretStr | None = Field(None, description="The bot's token; `run` needs it.")
    discord_api_url: HttpUrl = Field(HttpUrl("https://discord.com/api/v10"), description="Base of Discord's REST API.")
    discord_gateway_url: WebSocketUrl = Field(Url("wss://gateway.discord.gg/"), description="Discord's gateway.")
    discord_cdn_url: HttpUrl = Field(HttpUrl("https://cdn.discordapp.com"), description="Discord's CDN.")

    easel_data_dir: Path = Field(Path("data"), description="Holds easel.db and pictures/. One bot process a folder.")
    easel_guilds: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Servers the bot works in, by id, separated by commas. Empty: all of them."
    )
    easel_backends: Annotated[tuple[str, ...], NoDecode] = Field(
        BACKEND_ORDER,
        description="Backends to use, in order of preference. Those that are not configured are left out.",
    )
    easel_imagine_model: str | None = Field(
        None, description="Model of /imagine when none is named. Default: the first backend's."
    )
    easel_edit_model: str | None = Field(
        None, description="Model of /edit when none is named. Default: the first backend's."
    )
    easel_local_model: str | None = Field(
        None, description="HiDream-I1 on this machine: `tiny` (bundled), a folder or a hub id."
    )
    easel_local_edit_model: str | None = Field(
        None, description="HiDream-E1 on this machine: `tiny` (bundled), a folder or a hub id."
    )
    easel_llama: str = Field(
        "meta-llama/Llama-3.1-8B-Instruct",
        description="HiDream's fourth text encoder, where the model's folder has none: a folder or a hub id.",
    )
    easel_lora_dir: Path | None = Field(
        None, description="Folder of LoRAs for the local models (.safetensors); each goes by its file's name."
    )
    easel_local_speed: LocalSpeed = Field(
        LocalSpeed.AUTO,
        description="How the worker computes: `auto` uses what the GPU can do without changing the picture, `plain` is "
        "diffusers as it is, `fp8` also multiplies in 8 bits, which changes pictures a little.",
    )
    easel_local_memory: LocalMemory = Field(
        LocalMemory.AUTO,
        description="How the local models share the GPU's memory: `auto` (the first of the others that fits), `full`, "
        "`offload` (text encoders wait in main memory), `fp8` or `nf4` (smaller weights).",
    )
    easel_local_vae_pixels: int = Field(
        1024 * 1024,
        ge=256 * 256,
        le=4096 * 4096,
        description="The most pixels that the VAE works on at once; larger pictures are made in tiles, which changes "
        "them a little.",
    )
    easel_worker_url: HttpUrl | None = Field(
        None,
        description="A worker that runs elsewhere. Without it the bot starts its own for a local model.",
    )
    easel_worker_urls: Annotated[tuple[HttpUrl, ...], NoDecode] = Field(
        (), description="Several such workers, separated by commas; each may have models of its own."
    )
    easel_cluster_min_replicas: int = Field(
        1, ge=1, le=1000, description="Replicas that `cluster` keeps at least, each on a GPU (or CPU) of its own."
    )
    easel_cluster_max_replicas: int = Field(
        8, ge=1, le=1000, description="Replicas that `cluster` may start where all are busy."
    )
    easel_cluster_upscale_seconds: float = Field(
        10.0, ge=0, le=3600, description="Seconds that all replicas are busy before `cluster` starts another one."
    )
    easel_cluster_downscale_seconds: float = Field(
        600.0, ge=0, le=86_400, description="Seconds without need after which `cluster` ends a replica."
    )
    easel_cluster_warm_seconds: float = Field(
        0.1,
        ge=0,
        le=20,
        description="Seconds that a job waits for a replica with its model and prompt warm while another is free.",
    )
    easel_worker_token: SecretStr | None = Field(None, description="Bearer token that a worker on TCP asks for.")
    easel_default_daily_images: int = Field(
        50, ge=0, le=100_000, description="Pictures a member may have a day where no rule says otherwise."
    )
    easel_direct_messages: DirectMessages = Field(
        DirectMessages.OFF,
        description="Whether people can use the bot in direct messages and wherever their own account brings it: "
        "`off`, or `local`, with models on your own machines that cost nothing (docs/discord.md).",
    )
    easel_direct_daily_images: int = Field(
        20, ge=0, le=100_000, description="Pictures a person may have a day outside servers."
    )
    easel_daily_budget_usd: Decimal = Field(
        Decimal(5),
        ge=0,
        le=100_000,
        description="What all servers together may spend on paid backends a day (UTC).",
    )
    easel_confirm_above_usd: Decimal = Field(
        Decimal("0.05"),
        ge=0,
        le=100_000,
        description="A job that may cost more is asked about first, for its person's eyes alone. 0: whenever it costs.",
    )
    easel_max_queued_per_user: int = Field(
        10, ge=1, le=1000, description="Jobs that one member may have waiting or under way."
    )
    easel_max_running_per_user: int | None = Field(
        None, ge=1, le=1000, description="Jobs that one member may have under way at a time. None: no such limit."
    )
    easel_max_queued: int = Field(1000, ge=1, le=1_000_000, description="Jobs that may wait in all.")
    easel_pictures_gb: float = Field(
        10, gt=0, le=1_000_000, description="Space for pictures; the oldest go when it is full."
    )
    easel_pictures_days: int = Field(30, ge=1, le=3650, description="Days that pictures are kept.")
    easel_embed_parameters: bool = Field(
        True,
        description="Whether originals that people download carry prompt, seed and parameters as text. "
        "Pictures in channels never do.",
    )
    easel_favourites_days: int = Field(365, ge=1, le=36500, description="Days that members' favourites are kept.")
    easel_grace_seconds: float = Field(20, ge=0, le=3600, description="How long running jobs may go on after SIGTERM.")
    easel_log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severity that is logged."
    )
    easel_log_format: Literal["text", "json"] = Field(
        "text", description="How lines are written: for people, or one JSON object each."
    )
    easel_log_private: bool = Field(
        False,
        description="Let prompts, and at DEBUG members' names and libraries' own lines, into the log. Keys never are.",
    )

    wavespeed_api_key: SecretStr | None = Field(None, description="Key of WaveSpeedAI.")
    wavespeed_base_url: HttpUrl = Field(HttpUrl("https://api.wavespeed.ai"), description="WaveSpeedAI's API.")
    wavespeed_slots: int = Field(
        3, ge=1, le=5000, description="Calls to WaveSpeedAI at a time (its lowest account level allows 3)."
    )
    wavespeed_output_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further hosts of WaveSpeedAI's pictures, separated by commas; `*.` = any subdomain."
    )
    wavespeed_output: Literal["url", "base64"] = Field("url", description="How WaveSpeedAI hands over a picture.")
    wavespeed_safety_checker: bool = Field(True, description="WaveSpeedAI's safety checker, where a model has it.")
    wavespeed_sync: bool = Field(
        False,
        description="Wait for the picture in the submit, where a model can: a lost answer then cannot be resumed.",
    )

    runware_api_key: SecretStr | None = Field(None, description="Key of Runware.")
    runware_base_url: HttpUrl = Field(HttpUrl("https://api.runware.ai/v1"), description="Runware's API.")
    runware_slots: int = Field(4, ge=1, le=5000, description="Calls to Runware at a time.")
    runware_output_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Further hosts of Runware's pictures, separated by commas; `*.` = any subdomain."
    )
    runware_delivery: Literal["async", "sync"] = Field(
        "async", description="Whether Runware answers at once and is polled, or answers with the picture."
    )
    runware_output: Literal["url", "base64", "data-uri"] = Field("url", description="How Runware hands over a picture.")
    runware_loras: Annotated[dict[str, str | None], NoDecode] = Field(
        {},
        description="LoRAs at Runware that /imagine offers, separated by commas, each `name=AIR id` or an AIR id: "
        "`ink=civitai:123@456`.",
    )
    runware_quality: int = Field(95, ge=20, le=99, description="Runware's compression quality (JPEG and WebP).")
    runware_ttl_seconds: int | None = Field(
        None, ge=60, description="How long Runware keeps a picture; only with `url`. Default: Runware's own."
    )
    runware_safety: Literal["none", "fast"] = Field("none", description="Runware's content check.")
    runware_upload_endpoint: HttpUrl | None = Field(
        None, description="Where Runware uploads every picture with PUT, besides handing it over."
    )
    comfyui_url: HttpUrl | None = Field(None, description="Your ComfyUI server, e.g. http://127.0.0.1:8188.")
    comfyui_slots: int = Field(
        1, ge=1, le=64, description="Calls to ComfyUI at a time; it works on one after the other."
    )
    comfyui_models: Annotated[dict[str, str | None], NoDecode] = Field(
        {},
        description="Models that your ComfyUI has, separated by commas, each `model` or `model=file.safetensors`. "
        "Default: all that there are graphs for.",
    )
    openai_images_url: Annotated[tuple[HttpUrl, ...], NoDecode] = Field(
        (), description="Servers with OpenAI's images API (vLLM-Omni, SGLang, LocalAI …), separated by commas."
    )
    openai_images_api_key: SecretStr | None = Field(None, description="Key of these servers, where they want one.")
    openai_images_slots: int = Field(1, ge=1, le=5000, description="Calls at a time to each of these servers.")
    openai_images_models: Annotated[dict[str, str | None], NoDecode] = Field(
        {},
        description="Models that these servers have, separated by commas, each `model` or `model=its id there`. "
        "Default: all in docs/models.md.",
    )
    openai_images_price_usd: Decimal | None = Field(
        None,
        ge=0,
        le=1000,
        description="What a picture costs there; 0: they are your own. Default: 0 for servers in your own network; "
        "with any other the price is unknown, and nothing is sent.",
    )
    openai_images_output: Literal["base64", "url"] = Field(
        "base64", description="How these servers hand over pictures."
    )
    openai_images_output_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Hosts of their pictures, with `url`, separated by commas; `*.` = any subdomain."
    )
    easel_metrics_listen: PrivateAddress | None = Field(
        None,
        description="Port (on loopback) or `host:port` of /metrics, /healthz and /readyz. None: nobody listens.",
    )
    easel_webhook_listen: PublicAddress | None = Field(
        None,
        description="`host:port` at which vendors' webhooks are taken, behind a proxy with TLS: pictures come sooner.",
    )
    easel_webhook_public_url: HttpUrl | None = Field(
        None, description="How vendors reach it, e.g. https://easel.example; paths under /webhooks/ are used."
    )
    easel_operator_channel: int | None = Field(
        None, ge=1, description="A channel, by its id, where reports from all servers are posted for the operator."
    )
    easel_operator_contact: str | None = Field(
        None,
        max_length=300,
        description="How people reach the operator, shown in /about: a name, an address or a link.",
    )
    easel_moderation_url: HttpUrl | None = Field(
        None,
        description="A server with OpenAI's moderations API, such as https://api.openai.com/v1: it is asked about "
        "every prompt, and while it is down nothing goes to a hosted service.",
    )
    easel_moderation_api_key: SecretStr | None = Field(None, description="Its key, where it wants one.")
    easel_moderation_model: str | None = Field(None, max_length=200, description="Its model. Default: its own.")
    easel_blocklist: Path | None = Field(
        None, description="TOML file with phrases of your own that are refused in every server (docs/security.md)."
    )
    easel_presets: Path | None = Field(
        None,
        description="TOML file with words of your own for `speed`: [worker.turbo] or [runware.turbo] and the options.",
    )

    @field_validator(
        "easel_guilds",
        "easel_backends",
        "easel_worker_urls",
        "wavespeed_output_hosts",
        "runware_output_hosts",
        "openai_images_url",
        "openai_images_output_hosts",
        mode="before",
    )
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("comfyui_models", "openai_images_models", "runware_loras", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        parts = [part.partition("=") for part in value.split(",") if part.strip()]
        return {key.strip(): name.strip() or None for key, _, name in parts}

    @field_validator("runware_loras")
    @classmethod
    def _are_loras(cls, value: dict[str, str | None]) -> dict[str, str | None]:
        for name, air in value.items():
            if re.fullmatch(LORA_ID, air or name) is None:
                raise ValueError(f"not an AIR id: {air or name!r}")
        return value

    @field_validator("wavespeed_api_key", "runware_api_key", "openai_images_api_key", "easel_moderation_api_key")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and re.fullmatch(r"[!-~]+", value.get_secret_value()) is None:
            raise ValueError("a key is made of visible ASCII characters only")
        return value

    @field_validator("wavespeed_output_hosts", "runware_output_hosts", "openai_images_output_hosts")
    @classmethod
    def _host_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for host in value:
            if re.fullmatch(r"(\*\.)?[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", host) is None:
                raise ValueError(f"not a host name: {host!r}")
        return value

    @field_validator("easel_cluster_max_replicas")
    @classmethod
    def _not_below_the_least(cls, value: int, given: ValidationInfo) -> int:
        least = given.data.get("easel_cluster_min_replicas", 1)
        if value < least:
            raise ValueError(f"it is below EASEL_CLUSTER_MIN_REPLICAS, which is {least}")
        return value

    @field_validator("easel_backends")
    @classmethod
    def _known_backends(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in BACKEND_ORDER:
                raise ValueError(f"no backend is called {name!r}; there are {', '.join(BACKEND_ORDER)}")
        if len(set(value)) != len(value):
            raise ValueError("a backend is named twice")
        return value

    @property
    def worker_urls(self) -> tuple[str, ...]:
        """Every worker that runs elsewhere, each once."""
        single = (self.easel_worker_url,) if self.easel_worker_url is not None else ()
        return tuple(dict.fromkeys(str(url).rstrip("/") for url in (*single, *self.easel_worker_urls)))

    @property
    def daily_budget(self) -> MicroUSD:
        """``easel_daily_budget_usd`` in micro-dollars."""
        return micro_usd(self.easel_daily_budget_usd)

    @property
    def confirm_above(self) -> MicroUSD:
        """``easel_confirm_above_usd`` in micro-dollars."""
        return micro_usd(self.easel_confirm_above_usd)

    @property
    def openai_images_price(self) -> MicroUSD | None:
        """What a picture costs at the servers with OpenAI's images API; None where nobody has said."""
        if self.openai_images_price_usd is not None:
            return micro_usd(self.openai_images_price_usd)
        own = all(_is_own_network(url.host or "") for url in self.openai_images_url)
        return FREE if own else None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # ``load`` hands everything in, so that what it checks is exactly what is used.
        return (init_settings,)


def _is_own_network(host: str) -> bool:
    """Whether a URL's host can only be in a private network, without asking a resolver."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_global
    except ValueError:
        # Names for private use: RFC 6762 (.local), RFC 8375 (.home.arpa), RFC 6761 (localhost), ICANN (.internal).
        name = host.lower().rstrip(".")
        return "." not in name or name.endswith((".localhost", ".local", ".internal", ".home.arpa", ".lan"))
