"""The frame every service is mounted on. It knows no service."""

import os

# Before anything imports grpc: its own polling threads cost a fifth of an edge request and a
# twentieth of an invoke (docs/decisions/0005). Whoever sets the variable keeps what they set.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
