"""One hierarchy of errors.

Errors travel as a code with parameters: they can be stored with a job, sent by a worker and translated. The
sentences live in ``cogs/ui/texts.py``, which has one for every code.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

Parameter = str | int | float


class Code(StrEnum):
    """Everything that can go wrong, by name."""

    # What the person who asked can mend.
    PROMPT_EMPTY = "prompt_empty"
    PROMPT_TOO_LONG = "prompt_too_long"
    PROMPT_BLOCKED = "prompt_blocked"
    PROMPT_OUT_OF_SCOPE = "prompt_out_of_scope"
    WORD_BLOCKED = "word_blocked"
    ADULT_OFF = "adult_off"
    ADULT_NOT_HERE = "adult_not_here"
    LIMITED_HERE = "limited_here"
    CHANNEL_NOT_ALLOWED = "channel_not_allowed"
    ROLE_NEEDED = "role_needed"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    NO_MODEL_ALLOWED = "no_model_allowed"
    COSTS_MONEY_OUTSIDE = "costs_money_outside"
    BANNED = "banned"
    BANNED_HERE = "banned_here"
    OPTION_OUT_OF_RANGE = "option_out_of_range"
    OPTION_NOT_A_STEP = "option_not_a_step"
    OPTION_NOT_A_CHOICE = "option_not_a_choice"
    OPTION_MALFORMED = "option_malformed"
    STEPS_TOO_FEW = "steps_too_few"
    FLAG_UNKNOWN = "flag_unknown"
    FLAG_EMPTY = "flag_empty"
    FLAG_CONTRADICTS = "flag_contradicts"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_WRONG_KIND = "model_wrong_kind"
    NO_OFFER = "no_offer"
    QUEUE_FULL_FOR_USER = "queue_full_for_user"
    QUEUE_FULL_FOR_USER_HERE = "queue_full_for_user_here"
    QUEUE_FULL = "queue_full"
    QUEUE_FULL_HERE = "queue_full_here"
    QUOTA_EXCEEDED = "quota_exceeded"
    PICTURE_TOO_LARGE = "picture_too_large"
    PICTURE_TOO_MANY_PIXELS = "picture_too_many_pixels"
    PICTURE_UNREADABLE = "picture_unreadable"
    IMAGE_OR_LINK = "image_or_link"
    LINK_NOT_DISCORDS = "link_not_discords"
    NO_PICTURE_IN_MESSAGE = "no_picture_in_message"
    PICTURE_GONE = "picture_gone"
    JOB_UNKNOWN = "job_unknown"
    JOB_NOT_YOURS = "job_not_yours"
    JOB_NOT_OVER = "job_not_over"
    JOB_ALREADY_OVER = "job_already_over"
    JOB_UNDER_WAY_ELSEWHERE = "job_under_way_elsewhere"
    NOTHING_TO_REROLL = "nothing_to_reroll"
    NO_GALLERY = "no_gallery"
    NEEDS_MANAGE_SERVER = "needs_manage_server"
    BUTTON_STALE = "button_stale"
    NOTHING_TO_CHANGE = "nothing_to_change"
    NOT_IN_THE_LIST = "not_in_the_list"
    LAST_IN_THE_LIST = "last_in_the_list"
    LIST_FULL = "list_full"
    WORD_NOT_USABLE = "word_not_usable"
    PATTERN_NOT_USABLE = "pattern_not_usable"
    BLOCKED_ALREADY = "blocked_already"
    BLOCK_LIST_FULL = "block_list_full"
    NOT_BLOCKED = "not_blocked"
    NOT_BANNED = "not_banned"
    REPORTED_ALREADY = "reported_already"
    TOO_MANY_REPORTS = "too_many_reports"
    NOT_A_RESULT = "not_a_result"
    RULE_UNKNOWN = "rule_unknown"
    NOT_EXEMPT = "not_exempt"
    BACKENDS_NOT_ALLOWED = "backends_not_allowed"
    PAUSED_IN_SERVER = "paused_in_server"
    COOLING_DOWN = "cooling_down"
    CONFIRMATION_GONE = "confirmation_gone"
    DUPLICATE = "duplicate"
    CONTENT_FLAGGED = "content_flagged"
    CONTENT_WITHHELD = "content_withheld"
    CANCELLED = "cancelled"

    # What the operator or a server's admin can mend.
    BOT_LACKS_PERMISSIONS = "bot_lacks_permissions"
    GUILD_NOT_ALLOWED = "guild_not_allowed"
    ONLY_IN_SERVERS = "only_in_servers"
    BUDGET_EXHAUSTED = "budget_exhausted"
    PRICE_UNKNOWN = "price_unknown"
    PRICE_ROSE = "price_rose"
    CHARTS_MISSING = "charts_missing"
    PAUSED_BY_OPERATOR = "paused_by_operator"
    MODERATION_BROKEN = "moderation_broken"
    DISK_FULL = "disk_full"
    BACKEND_UNREACHABLE = "backend_unreachable"
    BACKEND_KEY_REFUSED = "backend_key_refused"
    BACKEND_OUT_OF_CREDIT = "backend_out_of_credit"
    BACKEND_RATE_LIMITED = "backend_rate_limited"
    BACKEND_REFUSED = "backend_refused"
    BACKEND_FAILED = "backend_failed"
    BACKEND_ANSWER_INVALID = "backend_answer_invalid"
    MODEL_NOT_FOUND = "model_not_found"
    MODEL_LOADING_FAILED = "model_loading_failed"
    OUT_OF_MEMORY = "out_of_memory"
    LORA_UNUSABLE = "lora_unusable"
    SETTING_INVALID = "setting_invalid"
    DATA_DIR_IN_USE = "data_dir_in_use"
    DISCORD_REFUSED = "discord_refused"

    # What is our fault, or nobody's.
    WORKER_DIED = "worker_died"
    TOO_MANY_STARTS = "too_many_starts"
    DEADLINE_PASSED = "deadline_passed"
    DISCORD_UNREACHABLE = "discord_unreachable"
    NOBODY_PAINTS = "nobody_paints"
    OUTCOME_UNKNOWN = "outcome_unknown"
    CHARTS_FAILED = "charts_failed"
    UNEXPECTED = "unexpected"


class EaselError(Exception):
    """Base of all errors that people may read.

    ``code`` names the sentence, ``parameters`` fill it. Never put a secret or a path outside the data folder
    into a parameter: it is shown.
    """

    def __init__(self, code: Code, /, **parameters: Parameter) -> None:
        super().__init__(code.value, parameters)
        self.code = code
        self.parameters: Mapping[str, Parameter] = MappingProxyType(parameters)

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{self.code.value}({shown})"


class UserError(EaselError):
    """The person who asked can mend it; told to them alone, logged at debug."""


class OperatorError(EaselError):
    """The operator (or a server's admin) can mend it; told plainly, logged as a warning."""


class InternalError(EaselError):
    """Our fault, or nobody's; logged once, with an id where it was unexpected."""
