"""The one catalogue of sentences: what people read for every code of ``domain/errors.py``, and everything else.

A sentence says what happened, then what to do next. Parameters stand in braces by name; a text that came from
outside is escaped on its way in.
"""

from collections.abc import Mapping
from typing import Final

from cogs.ui import words
from cogs.ui.filling import Parameters, filled, more_to_come, quota_exceeded
from cogs.ui.language import Plural, say, translated
from domain.errors import Code, EaselError, Parameter
from domain.job import Failure
from jobs.family import Kinship

# What the bot says apart from errors.
CHECKING_PICTURE: Final = "Checking the picture…"
COMMAND_CHANGED: Final = "This command has changed since your Discord loaded it. Reload Discord and try again."
OPTION_UNREADABLE: Final = "One of the options could not be read. Pick it from the list and try again."
RESTARTING: Final = "I am being restarted. Please try again in a minute."
CANCELLING: Final = "Cancelled job `{job}`."
NOTHING_TO_CANCEL: Final = "You have nothing waiting or being painted here."
NO_MODELS: Final = "There is no model to paint with here."
QUEUE_EMPTY: Final = "Nobody is waiting. The brush is yours: /imagine"
HISTORY_EMPTY: Final = "You have not painted anything here yet. Try /imagine"
NO_LIMITS: Final = "Nothing limits you here."
NO_RULES: Final = "No rules are set. Each member may have {limit} a day, as the operator has set for all servers."
RULE_SET: Final = "Rule `{rule}` is set: {text}."
RULE_REMOVED: Final = "Rule `{rule}` is removed: {text}."
RULE_NOW: Final = "Now: {used} used, {left} left."
RULE_NOW_HELD: Final = "Now: {used} used and {held} held, {left} left."
RULE_RESETS: Final = "It resets {when}."
RULE_COUNTS: Final = "Members who used something in this window: {active}; at the limit: {full}."
RULE_HITS_ROLE: Final = "It holds for whoever has the role when they ask and has no rule of their own."
RULE_HITS_EVERYBODY: Final = (
    "It holds for every member for whom no rule of their own or of a role of theirs says otherwise."
)
RULE_HITS_MONEY: Final = "It holds for every one of them: rules about money are never overridden."
GRANTED: Final = "<@{member}> has {amount} more, until the windows of their limits end."
EXEMPTED: Final = "<@{member}> is exempt: no limit of pictures and GPU time of their own, no wait between jobs."
EXEMPTION_ENDED: Final = "<@{member}> is not exempt any more."
TIME_ZONE_SET: Final = "Days, weeks and months begin in the time zone {zone} now."
COOLDOWN_SET: Final = "Members wait {time} between two jobs now."
COOLDOWN_OFF: Final = "Members need not wait between two jobs any more."
LOG_CHANNEL_SET: Final = "Changes are posted in <#{channel}> from now on."
LOG_CHANNEL_OFF: Final = "Changes are not posted any more."
LOG_CHANNEL_CLOSED: Final = "I could not post this in <#{channel}>: I need View Channel and Send Messages there."
LOG_ENTRY: Final = "🛠️ <@{author}>: {text}"
WEIGHT_SET: Final = "Jobs of members with <@&{role}> weigh {weight} in the line now (1 is what everybody has)."
PAUSED: Final = "I accept no new jobs in this server. Those already waiting are still painted. /quotas resume ends it."
RESUMED: Final = "I accept jobs again in this server."
EXPORTED: Final = "Exported the ledger. Days back: {days}; rows: {rows}."
EXPORT_CUT: Final = "There are more; only the newest fit."
SENT_DIRECTLY: Final = "I can't post in <#{channel}> any more, so here is what you asked for there."
SENT_PRIVATELY: Final = "Here is what came of what you asked for in <#{channel}>: it is for you alone."
TOLD_DIRECTLY: Final = "I can't write in <#{channel}> any more; this is about what you asked for there."
LEAVING: Final = (
    "Here I can answer for 15 minutes only, and this takes longer: what comes of it will be in a direct message to you."
)
DELETE_ONE: Final = "Delete this picture for good? Its message goes, and so does the file. Nothing brings it back."
DELETE_SEVERAL: Final = (
    "Delete these pictures for good? Their message goes, and so do the files. Nothing brings them back."
)
DELETED: Final = "Deleted."
CAPS_SET: Final = (
    "The most jobs here: waiting or under way of each member: {waiting}; of these, under way at a time: {running}; "
    "waiting in the whole server: {server}."
)
NO_CAP: Final = "no limit"
CONFIRM_SET: Final = "Members are asked before a job costs more than {price}."
CONFIRM_ALWAYS: Final = "Members are asked before each job that costs money."
CONFIRM: Final = "This costs at most {price}. Shall I paint it?"
CONFIRM_OWN: Final = "This costs at most {price} of your {left}. Shall I paint it?"
CONFIRM_CHANNEL: Final = "This costs at most {price} of this channel's {left}. Shall I paint it?"
CONFIRM_SERVER: Final = "This costs at most {price} of this server's {left}. Shall I paint it?"
AT_MOST: Final = "at most {price}"
LEFT_THIS_HOUR: Final = "{amount} left this hour"
LEFT_TODAY: Final = "{amount} left today"
LEFT_THIS_WEEK: Final = "{amount} left this week"
LEFT_THIS_MONTH: Final = "{amount} left this month"
CONFIRMED: Final = "Accepted, for at most {price}."
DECLINED: Final = "All right, I won't. Nothing was painted, and nothing was charged."
HISTORY_TITLE: Final = "Your pictures"
FAVOURITES_TITLE: Final = "Your favourites"
FAVOURITES_EMPTY: Final = "You have no favourites here yet. Press ⭐ under a picture."
GALLERY_TITLE: Final = "Gallery of this server"
GALLERY_EMPTY: Final = "Nothing that you may see has been painted in this server yet. Try /imagine"
NOTHING_FOUND: Final = "Nothing with “{search}” in its prompt is here."
PAGE: Final = "page {page}"
PICTURES: Final = Plural("{count} picture", "{count} pictures")
FAVOURITE: Final = "One of your favourites now: /favourites shows them. Favourites are kept for {days} days."
NO_FAVOURITE: Final = "Not one of your favourites any more."
GALLERY_LEFT: Final = "Your pictures are not in the gallery of this server any more."
GALLERY_JOINED: Final = "Your pictures are in the gallery of this server again."
FAMILY: Final = "Family of this picture"
NO_RELATIVES: Final = "It came from no other picture, and nothing has come from it yet."
ELSEWHERE: Final = "one that you can't see"
ORIGINAL_TOO_LARGE: Final = (
    "Picture {number} has {size}, and no more than {limit} can be sent here: this is the best that fits."
)
REENCODED: Final = "Made smaller to fit in here. The original: Details, then Original."
READS: Final = "By estimate your prompt has about {tokens} of the {limit} tokens that {model} reads."
READS_LESS: Final = (
    "By estimate your prompt has about {tokens} tokens, and {model} reads the first {limit}. Put what matters "
    "most first."
)
NEXT_SEEDS: Final = (
    "{backend} can't blend one seed with another, so there is no subtle or strong here: this is the same with the "
    "seeds that follow."
)
LEFT_OUT: Final = "{model} does not take everything that this was made with. Left out: {options}."
REMOVED: Final = "removed"
NOT_STARTED: Final = "not started"
DEFAULTS: Final = "Left to the model: {options}"
WORD_NOW_BLOCKED: Final = "Prompts with “`{text}`” are refused now, however it is written."
PATTERN_NOW_BLOCKED: Final = "Prompts that fit the pattern `{text}` are refused now."
NOW_UNBLOCKED: Final = "“`{text}`” is not refused any more."
BLOCKED_TITLE: Final = "Refused in prompts"
NOTHING_BLOCKED: Final = "The admins of this server have blocked nothing."
BLOCKED_EVERYWHERE: Final = "What the models may not be used for is refused in every server: /about lists it."
BANNED: Final = "<@{member}> can't use me in this server any more."
BANNED_BECAUSE: Final = "<@{member}> can't use me in this server any more: {reason}"
UNBANNED: Final = "<@{member}> can use me in this server again."
BANS_TITLE: Final = "Banned here"
NOBODY_BANNED: Final = "Nobody is banned here."
REPORTED: Final = "Thank you. The admins of this server and my operator will look at it."
REPORTED_OUTSIDE: Final = "Thank you. My operator will look at it."
EXPORTED_MINE: Final = Plural(
    "Here is all that I keep of you: {count} job with its pictures, and your entries in the ledger.",
    "Here is all that I keep of you: {count} jobs with their pictures, and your entries in the ledger.",
)
FORGET_QUESTION: Final = (
    "Delete all that I keep of you, in every server? Your prompts and pictures go, and so do my messages with them "
    "wherever I can delete them; what is being painted for you is cancelled. Only numbers stay in the ledger, so that "
    "quotas hold. Nothing brings it back."
)
FORGETTING: Final = "It has begun, and goes on by itself: message by message, also if I am restarted."
NOTHING_CHARGED: Final = "Nothing was charged."
CHARGED: Final = "Charged: {price}."

_SENTENCES: Final[Mapping[Code, str | Plural]] = {
    Code.PROMPT_EMPTY: "The `prompt` is empty. Describe the picture in a few words.",
    Code.PROMPT_TOO_LONG: "`{option}` has {length} characters, and at most {limit} are possible. Please shorten it.",
    Code.PROMPT_BLOCKED: "That prompt is not allowed here. Please word it differently.",
    Code.PROMPT_OUT_OF_SCOPE: "The models may not be used for this: {use}. /about says what they may not be used "
    "for. If your prompt means something else, please word it differently.",
    Code.WORD_BLOCKED: "“{word}” is not allowed in this server. Please word it differently.",
    Code.ADULT_OFF: "Pictures for adults are switched off here. Please word it differently.",
    Code.ADULT_NOT_HERE: "Pictures for adults belong in age-restricted channels, and this is not one. "
    "Please word it differently, or ask there.",
    Code.LIMITED_HERE: "`{option}` is {maximum} at the most in this server, and {value} is more.",
    Code.CHANNEL_NOT_ALLOWED: "The admins of this server let me paint in other channels: {channels:channels}",
    Code.ROLE_NEEDED: "In this server, pictures are for members with one of these roles: {roles:roles}",
    Code.MODEL_NOT_ALLOWED: "The admins of this server do not allow {model}. Pick another `model` from the list.",
    Code.NO_MODEL_ALLOWED: "The admins of this server allow no model for /{command}.",
    Code.COSTS_MONEY_OUTSIDE: "{model} costs money, and outside servers that have me I paint only with what costs "
    "nothing. Pick another `model` from the list, or ask in a server.",
    Code.BANNED: "My operator does not let you use me any more.",
    Code.BANNED_HERE: "The admins of this server do not let you use me here any more. Please talk to them.",
    Code.OPTION_OUT_OF_RANGE: "`{option}` must be between {minimum} and {maximum}; {value} is not.",
    Code.OPTION_NOT_A_STEP: "`{option}` goes in steps of {step}, and {value} is between two of them.",
    Code.OPTION_NOT_A_CHOICE: "`{option}` can't be “{value}”. Possible: {choices}.",
    Code.OPTION_MALFORMED: "`{option}` can't be “{value}”. Expected: {expected}.",
    Code.STEPS_TOO_FEW: "This `speed` sets {option}, which needs at least {minimum} `steps`; {steps} is too few. "
    "Ask for more steps, or leave `speed` out.",
    Code.FLAG_UNKNOWN: "There is no flag `--{flag}` in a prompt here. Possible: {known}.",
    Code.FLAG_EMPTY: "The flag `--{flag}` needs a value after it.",
    Code.FLAG_CONTRADICTS: "`{option}` is given twice with different values: the flag `--{flag}` says something else. "
    "Leave one of them out.",
    Code.MODEL_UNKNOWN: "There is no `model` called “{model}”. Pick one from the list that opens as you type.",
    Code.MODEL_WRONG_KIND: "{model} can't be used with /{command}. Pick a `model` from the list that opens there.",
    Code.NO_OFFER: "`{option}` can't be set for {model}. Leave it out, or pick another model.",
    Code.QUEUE_FULL_FOR_USER: "You have as many jobs waiting as you may ({limit}). Wait for one, or /cancel one.",
    Code.QUEUE_FULL_FOR_USER_HERE: "You have as many jobs waiting or being painted as the admins of this "
    "server allow ({limit}). Wait for one, or /cancel one.",
    Code.QUEUE_FULL_HERE: "As many jobs are waiting in this server as its admins allow ({limit}). "
    "Please try again in a few minutes.",
    Code.QUEUE_FULL: "The line is full (jobs: {limit}). Please try again in a few minutes.",
    # ``filling.quota_exceeded`` says it better where it is known which quota.
    Code.QUOTA_EXCEEDED: "That is more than a quota here leaves. /quota shows what is left.",
    Code.PICTURE_TOO_LARGE: "The `image` is too large ({size:bytes}); the most is {limit:bytes}. Send a smaller file.",
    Code.PICTURE_TOO_MANY_PIXELS: "The `image` has too many pixels; the most is {limit:megapixels} megapixels. "
    "Send a smaller one.",
    Code.PICTURE_UNREADABLE: "The `image` “{filename}” can't be read. Send a PNG, JPEG, WebP, GIF, BMP or TIFF "
    "of at least 16 pixels a side.",
    Code.IMAGE_OR_LINK: "Give one picture: either an `image` or a `link`.",
    Code.LINK_NOT_DISCORDS: "The `link` has to lead to a message in this server or to a picture on Discord's own "
    "servers. Right-click a picture and choose Copy Link, or upload it.",
    Code.NO_PICTURE_IN_MESSAGE: "I see no picture in that message. A link does not let me look into other people's "
    "messages: open the message's menu, then Apps, then Edit picture.",
    Code.PICTURE_GONE: "The picture is not there any more. Please send it again.",
    Code.JOB_UNKNOWN: "There is no job `{job}` here. /history lists yours.",
    Code.JOB_NOT_YOURS: "That job is somebody else's. Only they, or members with Manage Messages, can do that.",
    Code.JOB_NOT_OVER: "That job is still being made or posted. Please try again in a moment.",
    Code.JOB_ALREADY_OVER: "That job is over already, so there is nothing to cancel.",
    Code.JOB_UNDER_WAY_ELSEWHERE: "That job is being sent to a paid service right now and can't be taken back.",
    Code.NOTHING_TO_REROLL: "You have not painted anything in this channel yet. Start with /imagine",
    Code.NO_GALLERY: "The admins of this server have switched the gallery off. /history lists your own pictures.",
    Code.NEEDS_MANAGE_SERVER: "Only members with Manage Server can do that. /quota shows your own quota.",
    Code.BUTTON_STALE: "This button does not work any more. Use /imagine, or /reroll with the job's id.",
    Code.NOTHING_TO_CHANGE: "Give at least one option: what shall be changed?",
    Code.NOT_IN_THE_LIST: "That is not in the list, so there is nothing to remove. /settings show tells what is.",
    Code.LAST_IN_THE_LIST: "That is the last one in the list. Allow another one first, or set `{option}` to allow all.",
    Code.LIST_FULL: "The list is full (entries: {limit}). Remove one first; of channels, a category counts as one.",
    Code.WORD_NOT_USABLE: "“{text}” can't be looked for: a word or phrase has letters or digits, and at most {limit} "
    "characters.",
    Code.PATTERN_NOT_USABLE: "That pattern can't be used: {problem}. Patterns are regular expressions in RE2's syntax.",
    Code.BLOCKED_ALREADY: "“{text}” is blocked already.",
    Code.BLOCK_LIST_FULL: "The list is full (entries: {limit}). Remove one with /settings unblock first.",
    Code.NOT_BLOCKED: "“{text}” is not blocked here. /settings blocked lists what is.",
    Code.NOT_BANNED: "They are not banned here, so there is nothing to end. /settings bans lists who is.",
    Code.REPORTED_ALREADY: "You have reported this already. Thank you: it will be looked at.",
    Code.TOO_MANY_REPORTS: "You have made {limit} reports within a day, which is the most. Please talk to the admins.",
    Code.NOT_A_RESULT: "That message carries no picture of mine.",
    Code.RULE_UNKNOWN: "There is no `rule` {rule} in this server. /quotas list shows all.",
    Code.NOT_EXEMPT: "That `member` is not exempt, so there is nothing to end. /quotas list shows who is.",
    Code.PAUSED_IN_SERVER: "The admins of this server have paused me, so I accept no new jobs. "
    "Those already waiting are still painted.",
    Code.COOLING_DOWN: "Members wait {seconds:duration} between two jobs in this server. "
    "You can ask again {ends_at:moment}.",
    Code.CONFIRMATION_GONE: "That question is too old, or it was answered already. If nothing is being painted, "
    "please ask again.",
    Code.DUPLICATE: "That was received already.",
    Code.CONTENT_FLAGGED: "The service's safety check did not let the picture through. Please word it differently.",
    Code.CONTENT_WITHHELD: "The picture was not posted: it belongs in an age-restricted channel, which this is not "
    "(any more), or the server does not allow it.",
    Code.CANCELLED: "Cancelled.",
    Code.BOT_LACKS_PERMISSIONS: "I can't post pictures here: I need {permissions} in this channel. "
    "Ask an admin to allow that, or use another channel.",
    Code.GUILD_NOT_ALLOWED: "This bot works only in the servers that its operator has chosen.",
    Code.ONLY_IN_SERVERS: "This works only inside a server that has me, in a channel that I can post in.",
    Code.BUDGET_EXHAUSTED: "The operator's budget for paid services is used up for now.",
    Code.BACKENDS_NOT_ALLOWED: "The admins of this server allow none of the backends that have {model}. "
    "Pick another `model`; /models shows them.",
    Code.PRICE_ROSE: "{backend} costs more now than was reserved for this, so nothing was sent there. "
    "Please ask again.",
    Code.PRICE_UNKNOWN: "Nobody has told me what {model} costs at {backend}, so nothing is sent there. "
    "The operator has to set its price.",
    Code.CHARTS_MISSING: "Charts can't be drawn here: matplotlib is not installed. The operator can add it "
    "(`pip install '.[charts]'`).",
    Code.PAUSED_BY_OPERATOR: "My operator has paused me in all servers, so I accept no new jobs. "
    "Those already waiting are still painted.",
    Code.MODERATION_BROKEN: "The prompt could not be checked, and what is not checked is not sent to a hosted service. "
    "Please try again later; the operator finds more in the log.",
    Code.DISK_FULL: "There is no room left to keep pictures. The operator has to make some.",
    Code.BACKEND_UNREACHABLE: "The backend {backend} can't be reached. Please try again later.",
    Code.BACKEND_KEY_REFUSED: "The backend {backend} refused the operator's key. The operator has to mend that.",
    Code.BACKEND_OUT_OF_CREDIT: "The operator's account with {backend} is out of credit.",
    Code.BACKEND_RATE_LIMITED: "The backend {backend} is busy. Please try again in a minute.",
    Code.BACKEND_REFUSED: "The backend {backend} refused the request: {reason}",
    Code.BACKEND_FAILED: "The backend {backend} failed: {reason}",
    Code.BACKEND_ANSWER_INVALID: "The backend {backend} sent something that is no picture. Please try again.",
    Code.MODEL_NOT_FOUND: "The model {model} can't be found. The operator has to mend that.",
    Code.MODEL_LOADING_FAILED: "The model could not be loaded. The operator has to look at the log.",
    Code.LORA_UNUSABLE: "The LoRA {lora} can't be used with {model}: its file is damaged, or it was made for another "
    "model. Leave it out, or pick another.",
    Code.OUT_OF_MEMORY: "That picture does not fit into the GPU's memory. Try a smaller size.",
    Code.SETTING_INVALID: "The setting {setting} is wrong: {problem}",
    Code.DATA_DIR_IN_USE: "The data folder is in use by another process.",
    Code.DISCORD_REFUSED: "Discord did not allow that: {reason}",
    Code.WORKER_DIED: "Painting this broke off more than once. Try a smaller size or fewer steps.",
    Code.TOO_MANY_STARTS: "This was started {starts} times and never finished, so it was given up.",
    Code.DEADLINE_PASSED: "This took too long and was given up. Please try again.",
    Code.DISCORD_UNREACHABLE: "Discord cannot be reached ({problem}). Check the network and DISCORD_API_URL.",
    Code.NOBODY_PAINTS: "Jobs left: {jobs}. No bot runs on this data folder that could paint them: start it.",
    Code.OUTCOME_UNKNOWN: "The answer of {backend} was lost, so nobody can tell whether the picture was made. "
    "It is not sent again by itself.",
    Code.CHARTS_FAILED: "The charts could not be drawn. Please try again; the log may say more.",
    Code.UNEXPECTED: "Something went wrong on our side (id `{incident}`). Please try again; by that id the operator "
    "finds it in the log.",
}

_KINSHIP: Final[Mapping[Kinship, str]] = {
    Kinship.EDITED: "edited",
    Kinship.REDONE: "redone in another model",
    Kinship.REWORDED: "with other words",
    Kinship.REPEATED: "once more",
    Kinship.VARIED: "varied",
    Kinship.REROLLED: "rerolled",
}

_REASONS: Final[Mapping[str, str]] = {
    "only_one": "the only one that can",
    "first_in_order": "first choice",
    "first_free": "the first one free",
    "others_down": "the others are down",
    "cheapest": "the cheapest",
    "fastest": "the fastest",
    "spilled_over": "what costs nothing is busy",
    "failed_over": "another one did not take it",
}
"""By the codes of ``backends.selector.Reason``."""
_RULINGS: Final[Mapping[str, str]] = {
    "cannot": "does not take one of the options",
    "not_here": "not set up",
    "not_allowed": "not allowed in this server",
    "turned_down": "did not take it",
    "price_unknown": "nobody has said what it costs",
    "no_money": "costs more than may be spent now",
    "needs_operator": "out of order until the operator acts",
    "down": "can't be reached",
    "suspended": "rests after repeated faults",
    "cooling_down": "could not be reached a moment ago",
    "rate_limited": "asked to be left alone for a while",
    "busy": "busy",
    "not_while_free_is_busy": "costs money, and what is free is merely busy",
    "worth_waiting": "waiting for a faster one is sooner",
    "later_in_order": "later in the order",
    "dearer": "costs more",
    "slower": "slower",
}
"""By the codes of ``backends.selector.Ruling``."""


def sentence(code: Code, parameters: Parameters | None = None) -> str:
    """What a person reads for the code, in Discord's Markdown."""
    return _put_together(code, parameters or {}, escape=True)


def of_error(error: EaselError) -> str:
    """What a person reads for the error."""
    return sentence(error.code, error.parameters)


def of_failure(failure: Failure) -> str:
    """What a person reads for a stored failure."""
    return sentence(failure.code, failure.parameters)


def for_operator(error: EaselError) -> str:
    """One line for a terminal: no Markdown."""
    return " ".join(_put_together(error.code, error.parameters, escape=False).replace("`", "").split())


def fill(text: str | Plural, /, **values: Parameter) -> str:
    """One of the texts above in the language that is spoken, with its values, which are shown as they are."""
    return say(text, **values)


def kinship(kind: Kinship) -> str:
    """How a picture came from another, in words."""
    return translated(_KINSHIP[kind])


def reason(code: str | None) -> str:
    """Why that backend, in words; empty where it is not known."""
    return translated(_REASONS.get(code or "", ""))


def ruling(code: str) -> str:
    """Why not that backend, in words."""
    return translated(_RULINGS[code])


def _put_together(code: Code, parameters: Parameters, *, escape: bool) -> str:
    if code is Code.QUOTA_EXCEEDED and (exceeded := quota_exceeded(parameters)):
        return exceeded
    text = filled(_SENTENCES[code], parameters, escape=escape)
    # A provider's reason may end anyhow; another sentence may follow.
    ended = text if text.endswith((".", "!", "?", "…", "。", "！", "？")) else say("{sentence}.", sentence=text)
    return words.sentences(ended, more_to_come(parameters)) if code is Code.BUDGET_EXHAUSTED else ended
