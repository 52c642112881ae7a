"""Programs to read and run; each `main()` is run by a test."""
