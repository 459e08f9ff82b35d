"""The frame every service is mounted on. It knows no service."""
