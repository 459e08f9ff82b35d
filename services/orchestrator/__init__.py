"""Agents at work: owns tasks, their logs and the agent loop.

It never runs a model or a tool itself: it asks inference and the tool registry. The gateway calls
it, and so may anyone with a client made from `protos/`.
"""
