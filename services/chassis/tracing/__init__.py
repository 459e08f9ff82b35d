"""Spans of what a process does, sent to an OpenTelemetry collector, if there is one."""
