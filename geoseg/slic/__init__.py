"""The parts of `geoseg.superpixels`: colours, cells, assignment, connection, and the lattice that runs them."""
