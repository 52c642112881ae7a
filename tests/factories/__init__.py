"""What the conformance kit needs to know about each backend of the table, one file a backend."""
