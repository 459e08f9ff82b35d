"""Evaluates the PromQL of our rules over given series, as Prometheus 3 does, to see alerts fire.

It knows what our rules use, and says so of what it does not know.
"""
