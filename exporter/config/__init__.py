"""From a YAML file, the buildx store and Docker contexts to a checked list of nodes."""
