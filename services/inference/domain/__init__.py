"""What a generation is. Pure."""
