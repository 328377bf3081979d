"""Rasters: which files may be opened, what they contain, where they lie, and how they are written.

guards, sidecars, tiff, vrt          what may be opened, checked before GDAL sees it
remote, opening                      opened
header, georeference, palette        what an open raster says about itself
validity, masks, alpha               which of its pixels are valid
scene, class_raster                  the two rasters that commands read
ground, statistics, bit_patterns      what is computed from them
sample, fills, scaling               what a sample tells of values: undeclared nodata, and their units
mosaic, cog                          how results are written
sieve, and its kernels               small regions merged into their neighbours
"""
