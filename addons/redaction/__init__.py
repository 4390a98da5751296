"""Applying redaction rules to what AWS answers, in the bytes of every protocol. Never imports mitmproxy."""

from addons.redaction.redact import Masked, Redacted, redact, request_headers_to_drop
from addons.redaction.swap import Returned, swap
from addons.redaction.tree import Unredactable

__all__ = ["Masked", "Redacted", "Returned", "Unredactable", "redact", "request_headers_to_drop", "swap"]
