"""Replacements for names of Airflow 2 that 3.3 no longer has, for error messages. Pure.

Most published DAG files are of before Airflow 3. The tables name what fails to import, is refused as an argument, or is
missing from a task's context in Airflow 3.3.2; what still works with a warning is not in them.

Source: ruff, ``crates/ruff_linter/src/rules/airflow`` (AIR301, AIR302, AIR303, AIR311, AIR312), and the imports
tried on Airflow 3.3.2.
"""

import re
from collections.abc import Callable, Iterable, Sequence

_MODULES = """
airflow.datasets.metadata                      airflow.sdk
airflow.executors.celery_executor              airflow.providers.celery.executors.celery_executor
airflow.hooks.S3_hook                          airflow.providers.amazon.aws.hooks.s3
airflow.hooks.base_hook                        airflow.sdk
airflow.hooks.dbapi                            airflow.providers.common.sql.hooks.sql
airflow.hooks.dbapi_hook                       airflow.providers.common.sql.hooks.sql
airflow.hooks.docker_hook                      airflow.providers.docker.hooks.docker
airflow.hooks.druid_hook                       airflow.providers.apache.druid.hooks.druid
airflow.hooks.hive_hooks                       airflow.providers.apache.hive.hooks.hive
airflow.hooks.http_hook                        airflow.providers.http.hooks.http
airflow.hooks.jdbc_hook                        airflow.providers.jdbc.hooks.jdbc
airflow.hooks.mssql_hook                       airflow.providers.microsoft.mssql.hooks.mssql
airflow.hooks.mysql_hook                       airflow.providers.mysql.hooks.mysql
airflow.hooks.oracle_hook                      airflow.providers.oracle.hooks.oracle
airflow.hooks.pig_hook                         airflow.providers.apache.pig.hooks.pig
airflow.hooks.postgres_hook                    airflow.providers.postgres.hooks.postgres
airflow.hooks.presto_hook                      airflow.providers.presto.hooks.presto
airflow.hooks.samba_hook                       airflow.providers.samba.hooks.samba
airflow.hooks.slack_hook                       airflow.providers.slack.hooks.slack
airflow.hooks.sqlite_hook                      airflow.providers.sqlite.hooks.sqlite
airflow.hooks.webhdfs_hook                     airflow.providers.apache.hdfs.hooks.webhdfs
airflow.hooks.zendesk_hook                     airflow.providers.zendesk.hooks.zendesk
airflow.io.store                               airflow.sdk.io
airflow.kubernetes.k8s_model                   airflow.providers.cncf.kubernetes.k8s_model
airflow.kubernetes.kube_client                 airflow.providers.cncf.kubernetes.kube_client
airflow.kubernetes.pod_generator               airflow.providers.cncf.kubernetes.pod_generator
airflow.kubernetes.secret                      airflow.providers.cncf.kubernetes.secret
airflow.macros.hive                            airflow.providers.apache.hive.macros.hive
airflow.operators.bash_operator                airflow.providers.standard.operators.bash
airflow.operators.branch_operator              airflow.providers.standard.operators.branch
airflow.operators.check_operator               airflow.providers.common.sql.operators.sql
airflow.operators.dagrun_operator              airflow.providers.standard.operators.trigger_dagrun
airflow.operators.docker_operator              airflow.providers.docker.operators.docker
airflow.operators.druid_check_operator         airflow.providers.common.sql.operators.sql
airflow.operators.dummy                        airflow.providers.standard.operators.empty
airflow.operators.dummy_operator               airflow.providers.standard.operators.empty
airflow.operators.email_operator               airflow.providers.smtp.operators.smtp
airflow.operators.gcs_to_s3                    airflow.providers.amazon.aws.transfers.gcs_to_s3
airflow.operators.google_api_to_s3_transfer    airflow.providers.amazon.aws.transfers.google_api_to_s3
airflow.operators.hive_operator                airflow.providers.apache.hive.operators.hive
airflow.operators.hive_stats_operator          airflow.providers.apache.hive.operators.hive_stats
airflow.operators.hive_to_druid                airflow.providers.apache.druid.transfers.hive_to_druid
airflow.operators.hive_to_mysql                airflow.providers.apache.hive.transfers.hive_to_mysql
airflow.operators.hive_to_samba_operator       airflow.providers.apache.hive.transfers.hive_to_samba
airflow.operators.http_operator                airflow.providers.http.operators.http
airflow.operators.latest_only_operator         airflow.providers.standard.operators.latest_only
airflow.operators.mssql_to_hive                airflow.providers.apache.hive.transfers.mssql_to_hive
airflow.operators.mysql_to_hive                airflow.providers.apache.hive.transfers.mysql_to_hive
airflow.operators.papermill_operator           airflow.providers.papermill.operators.papermill
airflow.operators.pig_operator                 airflow.providers.apache.pig.operators.pig
airflow.operators.presto_check_operator        airflow.providers.common.sql.operators.sql
airflow.operators.presto_to_mysql              airflow.providers.mysql.transfers.presto_to_mysql
airflow.operators.python_operator              airflow.providers.standard.operators.python
airflow.operators.redshift_to_s3_operator      airflow.providers.amazon.aws.transfers.redshift_to_s3
airflow.operators.s3_file_transform_operator   airflow.providers.amazon.aws.operators.s3
airflow.operators.s3_to_hive_operator          airflow.providers.apache.hive.transfers.s3_to_hive
airflow.operators.s3_to_redshift_operator      airflow.providers.amazon.aws.transfers.s3_to_redshift
airflow.operators.slack_operator               airflow.providers.slack.operators.slack
airflow.operators.sql                          airflow.providers.common.sql.operators.sql
airflow.sensors.base_sensor_operator           airflow.sdk
airflow.sensors.bash_sensor                    airflow.providers.standard.sensors.bash
airflow.sensors.date_time_sensor               airflow.providers.standard.sensors.date_time
airflow.sensors.external_task_sensor           airflow.providers.standard.sensors.external_task
airflow.sensors.filesystem_sensor              airflow.providers.standard.sensors.filesystem
airflow.sensors.hive_partition_sensor          airflow.providers.apache.hive.sensors.hive_partition
airflow.sensors.http_sensor                    airflow.providers.http.sensors.http
airflow.sensors.metastore_partition_sensor     airflow.providers.apache.hive.sensors.metastore_partition
airflow.sensors.named_hive_partition_sensor    airflow.providers.apache.hive.sensors.named_hive_partition
airflow.sensors.python_sensor                  airflow.providers.standard.sensors.python
airflow.sensors.s3_key_sensor                  airflow.providers.amazon.aws.sensors.s3
airflow.sensors.sql                            airflow.providers.common.sql.sensors.sql
airflow.sensors.sql_sensor                     airflow.providers.common.sql.sensors.sql
airflow.sensors.time_delta_sensor              airflow.providers.standard.sensors.time_delta
airflow.sensors.web_hdfs_sensor                airflow.providers.apache.hdfs.sensors.web_hdfs
airflow.utils.dag_parsing_context              airflow.sdk
airflow.utils.log.secrets_masker               airflow.sdk.log
"""
"""A module that is gone, and where its names are now."""

_NAMES = """
BaseHook                     airflow.sdk.BaseHook
CheckOperator                airflow.providers.common.sql.operators.sql.SQLCheckOperator
Dataset                      airflow.sdk.Asset
DatasetAlias                 airflow.sdk.AssetAlias
DatasetAll                   airflow.sdk.AssetAll
DatasetAny                   airflow.sdk.AssetAny
DatasetOrTimeSchedule        airflow.timetables.assets.AssetOrTimeSchedule
DatasetTriggeredTimetable    airflow.timetables.simple.AssetTriggeredTimetable
DruidCheckOperator           airflow.providers.common.sql.operators.sql.SQLCheckOperator
DummyOperator                airflow.providers.standard.operators.empty.EmptyOperator
GoogleApiToS3Transfer        airflow.providers.amazon.aws.transfers.google_api_to_s3.GoogleApiToS3Operator
HiveToDruidTransfer          airflow.providers.apache.druid.transfers.hive_to_druid.HiveToDruidOperator
HiveToMySqlTransfer          airflow.providers.apache.hive.transfers.hive_to_mysql.HiveToMySqlOperator
IntervalCheckOperator        airflow.providers.common.sql.operators.sql.SQLIntervalCheckOperator
JdbcOperator                 airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
MsSqlOperator                airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
MsSqlToHiveTransfer          airflow.providers.apache.hive.transfers.mssql_to_hive.MsSqlToHiveOperator
MySqlOperator                airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
MySqlToHiveTransfer          airflow.providers.apache.hive.transfers.mysql_to_hive.MySqlToHiveOperator
OracleOperator               airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
PodGeneratorDeprecated       airflow.providers.cncf.kubernetes.pod_generator.PodGenerator
PodLauncher                  airflow.providers.cncf.kubernetes.utils.pod_manager.PodManager
PostgresOperator             airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
PrestoCheckOperator          airflow.providers.common.sql.operators.sql.SQLCheckOperator
PrestoIntervalCheckOperator  airflow.providers.common.sql.operators.sql.SQLIntervalCheckOperator
PrestoToMySqlTransfer        airflow.providers.mysql.transfers.presto_to_mysql.PrestoToMySqlOperator
PrestoValueCheckOperator     airflow.providers.common.sql.operators.sql.SQLValueCheckOperator
RedshiftToS3Transfer         airflow.providers.amazon.aws.transfers.redshift_to_s3.RedshiftToS3Operator
S3ToHiveTransfer             airflow.providers.apache.hive.transfers.s3_to_hive.S3ToHiveOperator
S3ToRedshiftTransfer         airflow.providers.amazon.aws.transfers.s3_to_redshift.S3ToRedshiftOperator
SimpleHttpOperator           airflow.providers.http.operators.http.HttpOperator
SqliteOperator               airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator
ThresholdCheckOperator       airflow.providers.common.sql.operators.sql.SQLThresholdCheckOperator
ValueCheckOperator           airflow.providers.common.sql.operators.sql.SQLValueCheckOperator
chain                        airflow.sdk.chain
cross_downstream             airflow.sdk.cross_downstream
"""
"""A name that is gone from where it was, and what it is now."""

_REMOVED = {
    "SubDagOperator": "Use a TaskGroup: from airflow.sdk import TaskGroup",
    "apply_defaults": "Remove the decorator: every operator does it",
    "date_range": "Compute dates with datetime or pendulum",
    "days_ago": "Give a fixed start_date, as datetime(2026, 1, 1), or "
    "pendulum.today('UTC').add(days=-N)",
    "get_current_context": "from airflow.sdk import get_current_context",
    "parse_execution_date": "Use datetime.fromisoformat()",
    "round_time": "Use pendulum",
    "airflow.datasets": "Datasets are assets: from airflow.sdk import Asset",
    "airflow.contrib": "What was in it is in provider packages",
    "airflow.operators.subdag": "Use a TaskGroup: from airflow.sdk import TaskGroup",
    "airflow.operators.subdag_operator": "Use a TaskGroup: from airflow.sdk import TaskGroup",
    "airflow.subdag": "Use a TaskGroup: from airflow.sdk import TaskGroup",
    "airflow.lineage.entities": "Use inlets= and outlets= with airflow.sdk.Asset",
    "airflow.www": "Airflow 3 has no Flask application; see airflow.providers.fab",
}
"""A name or module that is gone, and what to do."""

_ARGUMENTS = {
    "schedule_interval": "Write schedule= instead",
    "timetable": "Write schedule= instead",
    "concurrency": "Write max_active_tasks= instead",
    "task_concurrency": "Write max_active_tis_per_dag= instead",
    "fail_stop": "Write fail_fast= instead",
    "default_var": "Write default= instead",
    "execution_date": "Write logical_date= instead",
    "use_task_execution_day": "Write use_task_logical_date= instead",
    "use_task_execution_date": "Write use_task_logical_date= instead",
    "provide_context": "Remove it: the context is always given",
    "default_view": "Remove it: the user interface decides",
    "orientation": "Remove it: the user interface decides",
    "full_filepath": "Remove it",
    "sla": "Remove it: Airflow 3 has no SLAs; deadline alerts took their place",
    "postgres_conn_id": "Write conn_id= instead",
    "mysql_conn_id": "Write conn_id= instead",
    "xcom_push": "Write do_xcom_push= instead",
}
"""An argument that is refused, and what to do."""

_CONTEXT = {
    "execution_date": "logical_date",
    "next_execution_date": "data_interval_end",
    "next_ds": "data_interval_end | ds",
    "next_ds_nodash": "data_interval_end | ds_nodash",
    "prev_execution_date": "prev_data_interval_start_success, or logical_date less the interval",
    "prev_execution_date_success": "prev_data_interval_start_success",
    "prev_ds": "prev_data_interval_start_success | ds",
    "prev_ds_nodash": "prev_data_interval_start_success | ds_nodash",
    "tomorrow_ds": "macros.ds_add(ds, 1)",
    "tomorrow_ds_nodash": "macros.ds_format(macros.ds_add(ds, 1), '%Y-%m-%d', '%Y%m%d')",
    "yesterday_ds": "macros.ds_add(ds, -1)",
    "yesterday_ds_nodash": "macros.ds_format(macros.ds_add(ds, -1), '%Y-%m-%d', '%Y%m%d')",
    "conf": "dag_run.conf, or airflow.sdk.configuration.conf for Airflow's settings",
    "external_trigger": "dag_run.run_type",
    "triggering_dataset_events": "triggering_asset_events",
}
"""A key of the context, or an attribute of what is in it, and what has its value now."""

_RULES = {
    "dummy": "always",
    "none_failed_or_skipped": "none_failed_min_one_success",
}


def _table(text: str) -> dict[str, str]:
    return dict(line.split() for line in text.strip().splitlines())


NEW_MODULES, NEW_NAMES = _table(_MODULES), _table(_NAMES)
_NO_MODULE = re.compile(r"No module named '(airflow(?:\.\w+)*)'")
_NO_NAME = re.compile(
    r"cannot import name '(\w+)' from '(airflow[\w.]*)'"
    r"|module '(airflow[\w.]*)' has no attribute '(\w+)'"
)
_OF_PROVIDERS = re.compile(r"airflow\.(?:operators|sensors|hooks|kubernetes)\.\w")
_IMPORT = re.compile(r"from\s+(airflow[\w.]*)\s+import\s+\(?([\w\s,*]+)")
_REFUSED_ARGUMENT = re.compile(
    r"got an unexpected keyword argument '(\w+)'"
    r"|Invalid arguments were:\s*\*\*kwargs: \{([^\n]*)\}"
)
_NO_KEY = re.compile(
    r"KeyError: '(?!conf')(\w+)'|UndefinedError: '(\w+)' is undefined"
    r"|missing \d+ required (?:positional|keyword-only) arguments?: ([^\n]*)"
    r"|'(?:DagRun|RuntimeTaskInstance|DAG|Context)' object has no attribute '(\w+)'"
)
_NO_RULE = re.compile(
    r"trigger_rule must be one of .*received '(\w+)'"
    r"|'TriggerRule' has no attribute '(\w+)'"
    # Before Python 3.12 an enum tells no more than the name.
    r"|AttributeError: ([A-Z]+(?:_[A-Z]+)*)(?:\n|$)"
)


def hint(error: str) -> str | None:
    """Say what to write instead, if an error is that something of Airflow 2 is not there.

    Args:
        error: The message with the exception's type, and the source lines people are shown with it.
    """
    finders: tuple[Callable[[str], Iterable[str]], ...] = (
        _imports,
        _arguments,
        _rules,
        _keys,
    )
    for find in finders:
        if told := list(dict.fromkeys(find(error))):
            return f"Airflow 3: {'; '.join(told)}."
    return None


def _imports(error: str) -> Iterable[str]:
    gone = _NO_MODULE.search(error)
    missing = _NO_NAME.search(error)
    if gone is None and missing is None:
        return
    if missing is not None:
        module, names = missing[2] or missing[3], [missing[1] or missing[4]]
    else:
        assert gone is not None  # noqa: S101 - one of them is
        module, names = gone[1], []
    for source in _IMPORT.finditer(error):
        if source[1].startswith(module) and missing is None:
            module = source[1]
            names = [part.split()[0] for part in source[2].split(",") if part.split()]
    yield from _moved(module, names)


def _moved(module: str, names: Sequence[str]) -> Iterable[str]:
    told = [found for name in names if (found := _name(module, name)) is not None]
    return told or _module(module)


def _name(module: str, name: str) -> str | None:
    if name in NEW_NAMES:
        where, _, new = NEW_NAMES[name].rpartition(".")
        return f"from {where} import {new}"
    if name in _REMOVED:
        return f"{name} is gone. {_REMOVED[name]}"
    if module in NEW_MODULES:
        return f"from {NEW_MODULES[module]} import {name}"
    return None


def _module(module: str) -> Iterable[str]:
    parts = module.split(".")
    for length in range(len(parts), 1, -1):
        part = ".".join(parts[:length])
        if part in _REMOVED:
            return [f"{part} is gone. {_REMOVED[part]}"]
    if module in NEW_MODULES:
        return [f"{module} is now {NEW_MODULES[module]}"]
    if _OF_PROVIDERS.match(module):
        return [f"{module} is gone. What was in it is in a provider package"]
    return []


def _arguments(error: str) -> Iterable[str]:
    for match in _REFUSED_ARGUMENT.finditer(error):
        names = [match[1]] if match[1] else re.findall(r"'(\w+)':", match[2])
        for name in names:
            if name in _ARGUMENTS:
                yield f"there is no {name}=. {_ARGUMENTS[name]}"


def _rules(error: str) -> Iterable[str]:
    for match in _NO_RULE.finditer(error):
        name = (match[1] or match[2] or match[3]).lower()
        if name in _RULES:
            yield f"there is no trigger rule {name}. Write {_RULES[name]} instead"


def _keys(error: str) -> Iterable[str]:
    for match in _NO_KEY.finditer(error):
        names = re.findall(r"'(\w+)'", match[3]) if match[3] else [_one_of(match)]
        for name in names:
            if name in _CONTEXT:
                yield f"there is no {name}. Use {_CONTEXT[name]}"
            elif name in _ARGUMENTS and match[4]:
                yield f"there is no {name}. {_ARGUMENTS[name]}"


def _one_of(match: re.Match[str]) -> str:
    return match[1] or match[2] or match[4] or ""
