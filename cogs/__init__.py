"""Discord's face: commands, buttons and modals come in here, cards and pictures go out.

Everything that is particular to Discord lives in this room. It brings wishes to ``jobs`` and listens to what
becomes of them; it never talks to a backend.
"""
