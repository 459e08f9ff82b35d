"""The official MCP conformance suites against our edge: `make test-mcp`."""
