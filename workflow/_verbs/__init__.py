"""What a caller can do to runs: start, call back, wait, steer and list them."""
