"""The Python API: each function is one command, with the same settings and defaults, and returns its results.

Paths are `str` or `Path`; a URL needs `allow_remote=True`. `progress` is a function that is called with a `Progress`
for each step, or True for a tqdm bar. All errors are subclasses of `GeosegError`.

Use the functions as `geoseg.train`, `geoseg.predict` and so on.
"""
