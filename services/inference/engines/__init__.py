"""The adapters of the engine port."""
