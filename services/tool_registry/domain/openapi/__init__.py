"""OpenAPI 3.0 and 3.1 documents, read as tools: each operation one. Pure.

A document is not validated as a whole. Most of what is wrong with real ones is in parts that no
tool needs, and what a tool does need is checked where it is read: an operation that lacks it is
left out, with the reason.
"""
