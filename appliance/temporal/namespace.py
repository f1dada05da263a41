"""Prepares the namespace: retention, search attributes, and the name of the key submissions are sealed with.

Each is done at every start and changes nothing when it is done already. A server that does not allow it costs one
warning: runs work all the same.
"""

import logging
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.namespace.v1 import NamespaceConfig, UpdateNamespaceInfo
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    UpdateNamespaceRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.config.model import Config
from appliance.temporal import search_attributes
from appliance.temporal.keyring import Keyring

_LOG = logging.getLogger(__name__)
_KEY_NAME = "appliance-key"
_KEYWORD = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
_DATETIME = IndexedValueType.INDEXED_VALUE_TYPE_DATETIME
_ATTRIBUTES = {
    **{key.name: _KEYWORD for key in search_attributes.KEYWORDS},
    search_attributes.LOGICAL_DATE.name: _DATETIME,
}


async def prepare(client: Client, config: Config) -> bool:
    """Prepare the namespace; return whether it knows our search attributes."""
    if config.temporal.address is None:
        await _retain(client, config.temporal.retention_s)
    return await _register_attributes(client)


async def agree_on_key(client: Client, keys: Keyring) -> None:
    """Compare our key with the one the last worker of this namespace named, then name ours."""
    service = client.workflow_service
    try:
        found = await service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
        data = found.namespace_info.data
        named = data.get(_KEY_NAME)
        if named == keys.fingerprint:
            return
        if named is not None and named not in keys:
            _LOG.warning(
                "the key other workers of namespace %s use (%s) is not in %s (%s): "
                "here, runs submitted with --connections or --variables fail, and so "
                "does reading what tasks have kept. Give every container the same key "
                "file (APPLIANCE_KEY_FILE) and start again; see docs/SECURITY.md#keys.",
                client.namespace,
                named,
                keys.path,
                ", ".join(keys.fingerprints),
            )
        info = UpdateNamespaceInfo(data={**data, _KEY_NAME: keys.fingerprint})
        await service.update_namespace(
            UpdateNamespaceRequest(namespace=client.namespace, update_info=info)
        )
    except RPCError as err:
        _LOG.info("the key could not be compared with other workers': %s", err.message)


async def _retain(client: Client, seconds: float) -> None:
    ttl = Duration()
    ttl.FromTimedelta(timedelta(seconds=seconds))
    request = UpdateNamespaceRequest(
        namespace=client.namespace,
        config=NamespaceConfig(workflow_execution_retention_ttl=ttl),
    )
    try:
        await client.workflow_service.update_namespace(request)
    except RPCError as err:
        _LOG.warning("retention of finished runs could not be set: %s", err.message)


async def _register_attributes(client: Client) -> bool:
    service = client.operator_service
    try:
        known = await service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), retry=True
        )
        missing = {
            name: kind
            for name, kind in _ATTRIBUTES.items()
            if name not in known.custom_attributes
        }
        if missing:
            await service.add_search_attributes(
                AddSearchAttributesRequest(
                    namespace=client.namespace, search_attributes=missing
                ),
                retry=True,
            )
    except RPCError as err:
        _LOG.warning(
            "search attributes %s could not be registered, so runs are found by "
            "workflow id alone: %s",
            ", ".join(_ATTRIBUTES),
            err.message,
        )
        return False
    return True
