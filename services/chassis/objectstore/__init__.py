"""The object store: values too large for a log, each kept once under its own hash."""
