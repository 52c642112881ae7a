"""The loops of a running workflow, one file each; `supervisor` keeps them going."""
