"""What is special about a file: several processes on it, kills, locks, a full disk, forks; and programs that end."""
