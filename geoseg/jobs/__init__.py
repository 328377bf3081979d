"""One file a command: open, check, plan, run, publish."""
