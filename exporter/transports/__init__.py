"""Ways to a node: one kept connection each, and a Duplex for whoever speaks over it."""
