"""Simulated nodes behind real SSH and TLS servers on loopback."""
