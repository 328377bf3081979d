"""From clusters to a legend: edits of class maps, the files that hold them, and what they make of finished maps."""
