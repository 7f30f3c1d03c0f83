"""What is looked at on a node, one subject a file."""
