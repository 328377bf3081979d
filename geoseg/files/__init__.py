"""How files are written: atomically, verified, locked and recorded."""
