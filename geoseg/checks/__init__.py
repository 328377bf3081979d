"""Whether files are whole: everything is read, everything that is wrong is found, nothing is written."""
