"""Tools and calls of them; pure."""
