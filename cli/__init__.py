"""The command line. It parses, calls the library, and reports; installed as `geoseg.cli`."""
