"""What callers can do."""
