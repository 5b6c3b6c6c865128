"""How Ray Serve's proxy chooses among the worker's replicas: the warm one first. Imports Ray.

A job whose warm replica is at work is not kept waiting for it for long while another one is free.
"""

import random
import time
from typing import Any

from ray.serve.request_router import PendingRequest, ReplicaID, ReplicaResult, RequestRouter, RunningReplica

from backends.worker.warmth import Memory, Wanted


class WarmFirst(RequestRouter):  # type: ignore[misc]
    """Named to Serve by its path; one works in each proxy."""

    def initialize_state(self, **kwargs: Any) -> None:
        """Called once by Serve. ``patience``: seconds that a job waits for a warm replica while a cold one is free.

        A swap of models takes seconds, and a replica that just handed over its picture seems busy for a moment.
        """
        self._patience = float(kwargs["patience"])
        self._memory = Memory()

    async def choose_replicas(
        self, candidate_replicas: list[RunningReplica], pending_request: PendingRequest | None = None
    ) -> list[list[RunningReplica]]:
        """Those that are free, the warmest first; then the others, which Serve asks whether they still are busy."""
        if pending_request is None:
            return [candidate_replicas]
        # Without it Serve would ask again and again without a pause.
        pending_request.routing_context.should_backoff = True
        wanted = Wanted.parse(pending_request.metadata.multiplexed_model_id)
        if wanted is None:
            return [random.sample(candidate_replicas, len(candidate_replicas))]
        replicas = {replica.replica_id.unique_id: replica for replica in candidate_replicas}
        free = {replica.replica_id.unique_id for replica in self.select_available_replicas(candidate_replicas)}
        waits = time.time() - pending_request.created_at < self._patience
        return [[replicas[name] for name in names] for names in self._memory.choice(replicas, free, wanted, waits)]

    def on_request_routed(self, pending_request: PendingRequest, replica_id: ReplicaID, _result: ReplicaResult) -> None:
        """A replica took the job."""
        wanted = Wanted.parse(pending_request.metadata.multiplexed_model_id)
        if wanted is not None:
            self._memory.note(replica_id.unique_id, wanted)

    def update_replicas(self, replicas: list[RunningReplica]) -> None:
        """Serve started or lost some."""
        super().update_replicas(replicas)
        self._memory.keep(replica.replica_id.unique_id for replica in replicas)
