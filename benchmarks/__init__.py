"""What Runplane costs: real suites, real sockets, one table. `python -m benchmarks --help`."""
