"""Rasters: which files may be opened, what their pixels and places are, and how they are written."""
