"""The heart: a wish comes in (``intake``), waits in fair order, is painted (``dispatcher``) and posted (``outbox``).

Progress flows up as events (``events``); nothing here knows Discord.
"""
