"""The Python API: each function is one command, with the same settings and defaults, and returns what was made.

Paths are `str` or `Path`; what looks like a URL is a remote file and needs `allow_remote=True`. `progress` is a
function that gets a `Progress` for every step, or True for a tqdm bar. Every error is a subclass of `GeosegError`.

The functions are reached as `geoseg.train`, `geoseg.predict` and so on; this package only keeps them.
"""
