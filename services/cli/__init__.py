"""`runplane`: starts a suite on one machine and talks to its edge. No service depends on it."""
