"""What an operator types: the commands that are not the bot itself, and the words in which they can be given.

Everything here may run beside a bot that is working on the same data folder.
"""
