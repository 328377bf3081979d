"""From clusters to a legend: how classes look, edits of class maps, and what shows classes to people."""
