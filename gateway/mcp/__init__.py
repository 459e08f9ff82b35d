"""MCP at the edge: the services' tools, agents, tasks, resources and prompts over one endpoint.

`endpoint.py` is what the edge has from the start. All that needs the SDK, whose import takes half a
second of CPU, is loaded by the first request.
"""
