"""Builds the activities of a worker, feature by feature."""

from collections.abc import Callable, Sequence
from typing import Any

from temporalio.client import Client

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient
from appliance.backfills.activities import BackfillActivities
from appliance.config.model import Config
from appliance.kv_store.client import KvStores
from appliance.past.activities import PastActivities
from appliance.pools.activities import PoolActivities
from appliance.pools.contention import WorkerCapacity
from appliance.pools.exemption import Exemption
from appliance.runs.activities import DagActivities, TryActivities, XComActivities
from appliance.runs.attempt_journal import AttemptJournal
from appliance.runs.deferral_activities import TriggerActivities
from appliance.runs.other_runs import OtherRunsClient
from appliance.runs.running_attempts import RunningAttempts
from appliance.runs.start import RunStarter
from appliance.runs.worker_client import WorkerRuns
from appliance.schedules.activities import ScheduleActivities
from appliance.schedules.client import SchedulesClient
from appliance.schedules.reconciler import Reconciler
from appliance.schedules.temporal_schedule_activity import TemporalScheduleActivities
from appliance.schedules.temporal_schedules import TemporalSchedules
from appliance.temporal.keyring import Keyring
from appliance.temporal.signed_plans import PlanSigner
from appliance.worker.entity_recovery import EntityRecovery
from appliance.worker.task_host import TaskHost

Activity = Callable[..., Any]


class Services:
    """Those of one worker."""

    def __init__(
        self,
        client: Client,
        config: Config,
        host: TaskHost,
        stores: KvStores,
        keys: Keyring,
        *,
        own_queue: str,
        journals: tuple[AttemptJournal, AttemptJournal],
        has_search_attributes: bool,
    ) -> None:
        """Build them.

        Args:
            client: The connection to the server.
            config: The configuration at the start.
            host: Runs user code.
            stores: Variables and state that tasks write.
            keys: The keys of this appliance.
            own_queue: The task queue of this worker alone.
            journals: On disk: the tries this worker has in hand, and its deferred waits.
            has_search_attributes: Whether the namespace knows ours.
        """
        queue = config.temporal.task_queue
        signer = PlanSigner(keys)
        active_runs = ActiveRunsClient(client, queue)
        capacity = WorkerCapacity(client, config, host.weights)
        pools = PoolActivities(client, config)
        scheduling = ScheduleActivities(
            client,
            config,
            host.ask_timetables,
            has_search_attributes=has_search_attributes,
        )
        schedules = SchedulesClient(client, queue)
        dags = DagActivities(
            config,
            host,
            capacity,
            voucher=signer.voucher,
            has_search_attributes=has_search_attributes,
        )
        self.starter = RunStarter(client, config, dags.read_dag)
        other_runs = OtherRunsClient(
            client, active_runs, self.starter, host.facts, schedules
        )
        runs = WorkerRuns(client, keys, other_runs)
        self._tries = TryActivities(
            RunningAttempts(host.runner(runs), parallelism=config.worker.parallelism),
            journals[0],
            Exemption(client, capacity),
            queue=own_queue,
            runs=runs,
        )
        self.triggerer = host.triggerer(runs)
        self._triggers = TriggerActivities(
            client,
            self.triggerer,
            journals[1],
            runs=runs,
            open_file=host.open_file,
            start_s=config.dags.import_timeout_s,
        )
        self._dags = dags
        self._xcoms = XComActivities(host.resolve)
        backfills = BackfillActivities(
            client, host, active_runs, schedules, scheduling.ask_timetables
        )
        self.recovery = EntityRecovery(client)
        self._features = (
            ActiveRunsActivities(active_runs, signer.is_known),
            PastActivities(active_runs),
            pools,
            scheduling,
            backfills,
            TemporalScheduleActivities(schedules),
            self.recovery,
        )
        self.reconciler = Reconciler(config, host.folder, schedules)
        self.temporal_schedules = TemporalSchedules(client, queue, schedules)
        live = (host, dags, stores, pools, capacity, self.reconciler)
        self.reconfigure = [one.reconfigure for one in live]
        """Told of a configuration that was saved."""
        self.own_queue = own_queue

    @property
    def quick(self) -> Sequence[Activity]:
        """Activities that are done at once, or wait by failing: of the workflows that are no run, mostly."""
        return [one for feature in self._features for one in feature.activities]

    @property
    def shared(self) -> Sequence[Activity]:
        """Activities of the task queue of all workers."""
        return [
            self._tries.run_airflow_task,
            self._tries.find_holders,
            self._tries.reattach_airflow_task,
            self._dags.read_dag,
            self._dags.list_dags,
            self._xcoms.resolve_xcoms,
            *self.quick,
        ]

    @property
    def own(self) -> Sequence[Activity]:
        """Activities that only the worker can run that has the try in hand."""
        return [self._tries.reattach_airflow_task]

    @property
    def waiting(self) -> Sequence[Activity]:
        """Activities of the task queue for waits, and those that no try may hold up."""
        return [self._triggers.run_trigger, *self.quick]
