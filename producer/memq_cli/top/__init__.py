"""What a running memq is doing at this moment, from its workers' metrics and from the broker."""
