"""The event store: the truth of every service.

Six words. An **event** is something that happened. A **stream** is the events of one thing (one
task, one workflow), in order. A **sequence** counts the events of a stream from 1, without gaps. A
**position** orders the events of all streams as they were committed. A **snapshot** is what a
stream's events up to a sequence add up to, so that they need not be read again. A **tenant** owns
streams; nobody reads another's.
"""
