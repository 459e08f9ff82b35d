"""What the use cases need, by event store and file."""
