"""Knows the tools and calls them, checked by their JSON Schemas on the way in and on the way out.

It never decides when a tool is called: the orchestrator and the gateway call it.
"""
