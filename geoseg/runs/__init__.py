"""Resumable work: the run directory with its finished parts, and what computes the parts that are missing."""
