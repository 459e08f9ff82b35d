"""Servers of somebody else's that tools run at: each adds two numbers, in a process of its own.

`python -m benchmarks.servers KIND [PORT]`, KIND being one of those in `__main__`.
"""
