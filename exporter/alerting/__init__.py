"""What people are told of: alerts, their state, and the way to Alertmanager."""
