"""The adapters of the stores' ports."""
