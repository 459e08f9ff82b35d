"""Long-running operations (AIP-151): work of which only the outcome counts.

An *order* says what is to be done. An *operation* is an order with its outcome, as callers see it;
each is a stream on the event store, so that it outlives the process that took the order, and any
replica answers for it. A *handler* does what orders of one kind say; it may be called again for an
order that another process left behind, so doing it twice must do no harm.
"""
