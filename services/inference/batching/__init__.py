"""Batches: started and read by callers, run by workers behind everybody who waits for an answer."""
