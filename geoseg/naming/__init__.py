"""From clusters to a legend: edits of class maps, the files that hold them, and what shows classes to people."""
