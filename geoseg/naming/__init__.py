"""From clusters to a legend: what shows the classes of a map, names them and merges them."""
