"""MCP servers, by the official SDK. Only `links` and `tools` may be imported before one is needed:
the SDK costs half a second of CPU."""
