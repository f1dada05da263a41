"""Payloads as the SDK makes them, but with the keys of a mapping in the order they have.

The SDK sorts them, and Airflow does not: columns of a row or items to map over would change places.
"""

import json
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)


class _OrderedJson(JSONPlainPayloadConverter):
    def to_payload(self, value: Any) -> Payload:
        text = json.dumps(value, cls=AdvancedJSONEncoder, separators=(",", ":"))
        return Payload(
            metadata={"encoding": self.encoding.encode()}, data=text.encode()
        )


class OrderedPayloadConverter(CompositePayloadConverter):
    """The SDK's default, but for that."""

    def __init__(self) -> None:
        """Take the SDK's, but for JSON."""
        defaults = DefaultPayloadConverter.default_encoding_payload_converters
        super().__init__(
            *(
                _OrderedJson() if isinstance(one, JSONPlainPayloadConverter) else one
                for one in defaults
            )
        )


CONVERTER = DataConverter(payload_converter_class=OrderedPayloadConverter)
