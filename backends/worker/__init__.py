"""The GPU side: pipelines in a process of their own, and the client through which the bot speaks to it.

``client`` and ``process`` are the bot's half and import no torch; everything else runs in the worker.
"""
