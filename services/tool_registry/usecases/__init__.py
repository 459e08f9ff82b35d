"""What callers can do, a module for each resource."""
