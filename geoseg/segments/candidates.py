"""How many centres a pixel chooses from, and how many pixels choose at once."""

CANDIDATES = 9
CHUNK = 16
"""Pixels computed at once. LLVM divides them among two or four registers where these are shorter."""
