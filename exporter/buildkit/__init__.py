"""BuildKit's Control API over a Duplex, and where a node's builders are."""
