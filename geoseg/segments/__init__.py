"""Superpixels: SLIC on a seed lattice anchored at the scene, and sums over regions. Knows arrays, no files."""
