"""Business processes as state machines whose histories are events.

Owns definitions, instances, what moves them (signals, approvals, timers, actions), compensation
and verification. Runs no tool and no agent itself: it asks the tool registry and the orchestrator.
Called by the gateway, and by what comes in on the event bus.
"""
