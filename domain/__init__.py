"""The words that all rooms share. Imports nothing of ours and does nothing by itself."""
