"""Regions of a raster as polygons: swept row by row, traced, and written as a stream of Arrow batches."""
