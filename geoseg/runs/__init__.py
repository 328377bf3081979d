"""Resumable work: the run directory, and the computation of its missing parts."""
