"""Checks of files: everything is read, every fault is found, nothing is written."""
