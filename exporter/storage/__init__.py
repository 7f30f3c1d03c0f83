"""What outlives a restart: the history of prunes, and since when a volume is orphaned."""
