"""Owns models and engines: turns messages into text, whole or streamed, free or bound by a schema.

Keeps no memory of a conversation, calls no tools and retries nothing, but for the items of batches,
which it keeps and runs by itself. The orchestrator calls it; it calls nobody.
"""
