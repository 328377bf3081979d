"""geoseg: from unlabelled orthophotos to a land-cover map that opens, named and coloured, in QGIS."""

__version__ = "0.1.0"
