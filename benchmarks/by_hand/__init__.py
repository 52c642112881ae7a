"""The limit of each store: the same rows, written by hand in a loop, without an engine."""
