"""Current state of a running memq, from its workers' metrics and from the broker."""
