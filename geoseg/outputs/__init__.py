"""What lies beside a map: which files, what is in them, and how they get there together."""
