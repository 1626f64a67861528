"""Arguments and return values to text and back: ``calls`` is the only (de)serialiser, the rest are its parts."""

from .calls import decode_call, decode_value, encode_call, encode_value

__all__ = [
    "decode_call",
    "decode_value",
    "encode_call",
    "encode_value",
]
