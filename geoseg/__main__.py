"""python -m geoseg."""

try:
    from geoseg.cli.start import main
except ModuleNotFoundError:
    # In a checkout, Python finds this folder before the installed package, and the command line lies beside it.
    from cli.start import main

main()
