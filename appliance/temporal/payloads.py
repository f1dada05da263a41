"""Payload converter that keeps the order of keys in mappings, and refuses what cannot be read.

The SDK sorts them, and Airflow does not: columns of a row or items to map over would change places.

Whoever reaches the server sends what he likes. What is not what it should be ends what was asked, in words: a workflow
task that fails would be tried for ever.
"""

import json
from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    AdvancedJSONEncoder,
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
)
from temporalio.exceptions import ApplicationError

from appliance.temporal.messages import INPUT_REFUSED


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

    def from_payloads(
        self, payloads: Sequence[Payload], type_hints: list[type] | None = None
    ) -> list[Any]:
        """Read values, each of its type.

        Raises:
            ApplicationError: type ``InputRefused``: one is not what it should be.
        """
        try:
            values = super().from_payloads(payloads, type_hints)
        except (TypeError, ValueError, LookupError, ArithmeticError) as err:
            raise _refused(err) from err
        except (AttributeError, RuntimeError) as err:  # Of other JSON, or too deep.
            raise _refused(err.__cause__ or err) from err
        for value, hint in zip(values, type_hints or (), strict=False):
            if is_dataclass(hint) and not isinstance(value, hint):
                raise _refused(TypeError(f"{type(value).__name__} is no {hint}"))
        return values


def _refused(err: BaseException) -> ApplicationError:
    return ApplicationError(
        f"refused: what was sent cannot be read: {err}",
        type=INPUT_REFUSED,
        non_retryable=True,
    )


CONVERTER = DataConverter(payload_converter_class=OrderedPayloadConverter)
