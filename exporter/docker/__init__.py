"""The Docker Engine API over a Duplex."""
