"""From clusters to a legend: looks, colours, likeness and guesses of names; edits of class maps and their files."""
