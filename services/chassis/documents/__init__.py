"""Documents that people write, YAML or JSON: plain values, and what is wrong with them, each with
its place. Pure."""
