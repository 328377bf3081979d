"""Jobs: the work of each command, one module a command: open, check, plan, run, publish."""
