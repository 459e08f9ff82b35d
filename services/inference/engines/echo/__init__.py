"""The engine without a model, for tests and load."""
