"""Declarations of the user: collected, checked and frozen before anything runs."""
