"""The event bus: events that other systems see and send."""
