"""Real servers for tests and benchmarks: started from wheels, on loopback, in temporary folders."""
