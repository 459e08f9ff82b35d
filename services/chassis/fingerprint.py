"""What tells a request from others with the same idempotency key. Pure."""

import hashlib

import rfc8785
from google.protobuf import json_format
from google.protobuf.message import Message


def fingerprint(request: Message) -> str:
    """A hash over canonical JSON (RFC 8785), so that it is the same from any client and any
    release."""
    document = json_format.MessageToDict(request, preserving_proto_field_name=True)
    document.pop("idempotency_key", None)
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()
