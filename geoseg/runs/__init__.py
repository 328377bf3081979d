"""Resumable work: runs, where they are kept, claims to blocks, and the engines that compute missing parts."""
