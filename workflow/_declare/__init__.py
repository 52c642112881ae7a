"""What a user declares, checked and frozen before anything runs."""
