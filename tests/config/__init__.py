"""Tests of the configuration: what people write, and what they are told of it."""
