"""python -m cli, from a checkout."""

from .start import main

main()
