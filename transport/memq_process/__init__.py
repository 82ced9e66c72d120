"""Standard streams and signals of the commands `memq` and `memq-worker`. Imports the standard library only."""
