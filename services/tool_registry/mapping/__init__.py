"""Protobuf to domain and back, a module for each resource. Pure."""
