"""What every process and every verb of one workflow shares: how a version is made, written and made known."""
