"""The load, in a process of its own: takes a `Job` as JSON, answers with what it saw."""
