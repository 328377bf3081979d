"""From clusters to a legend: what classes look like, their colours, guesses of their names, and which are alike."""
