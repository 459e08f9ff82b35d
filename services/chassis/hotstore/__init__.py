"""The hot store: what may be lost. It wakes, fans out, caches and counts; it holds no truth."""
