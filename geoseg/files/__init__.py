"""How files appear whole: written, verified, locked, recorded."""
