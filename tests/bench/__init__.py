"""What looking costs: at one real node, and at many simulated ones."""
