"""Tools that are methods of gRPC services."""
