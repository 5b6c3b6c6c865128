"""What a person is asked before money is spent."""

from typing import Final

from cogs.ui import texts, words
from domain.quota import Subject, Unit, Window
from jobs.confirmations import Question

_OF: Final = {
    Subject.GUILD: texts.CONFIRM_SERVER,
    Subject.CHANNEL: texts.CONFIRM_CHANNEL,
    Subject.ROLE: texts.CONFIRM_OWN,
    Subject.MEMBER: texts.CONFIRM_OWN,
    Subject.EVERY_MEMBER: texts.CONFIRM_OWN,
}
_LEFT: Final = {
    Window.HOUR: texts.LEFT_THIS_HOUR,
    Window.DAY: texts.LEFT_TODAY,
    Window.WEEK: texts.LEFT_THIS_WEEK,
    Window.MONTH: texts.LEFT_THIS_MONTH,
}


def question_text(question: Question) -> str:
    """The price, and how much there is to pay it from."""
    price = words.price(question.price)
    purse = question.purse
    if purse is None:
        return texts.fill(texts.CONFIRM, price=price)
    left = texts.fill(_LEFT[purse.rule.window], amount=words.amount(Unit.MONEY, purse.left))
    return texts.fill(_OF[purse.rule.subject], price=price, left=left)
