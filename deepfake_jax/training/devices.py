"""The devices that a run trains on: one, several, or those of several processes.

On one device arrays are plain. On several, every array of the state has a leading axis
with a copy a device, and a batch is split along such an axis. Only this module and
`step.pmap_step` know of that axis, so another way to spread the work (`shard_map`) has
to change nothing else.

With several processes, each runs the same program on its own devices. It prepares its
rows of each batch; process 0, the leader, is the only one that writes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, Shaped

from deepfake_jax.train_config import ConfigError
from deepfake_jax.training.batch import Batch
from deepfake_jax.training.device_cuts import cut_pairs
from deepfake_jax.training.host_memory import use_one_heap
from deepfake_jax.training.step import (
    Device,
    Step,
    graph_options,
    jit_step,
    pmap_step,
)

AXIS = "data"
DETECT: Literal["auto"] = "auto"


def setup_distributed(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> bool:
    """Joins this process to the others of a run on several hosts.

    Without arguments it does so only where a launcher says that it started several
    processes: ``srun`` (``SLURM_STEP_NUM_TASKS``), Open MPI's ``mpirun``
    (``OMPI_COMM_WORLD_SIZE``) or a TPU pod (``TPU_WORKER_HOSTNAMES``). A single process
    in an allocation, a container or a notebook is left alone. Must be called before
    anything touches a device.

    Args:
        coordinator: ``host:port`` of process 0, reachable from all; or ``auto``, which
            leaves everything to JAX's own detection (Kubernetes needs that).
        num_processes: how many there are; 1 means none but this one.
        process_id: which of them this is, from 0.

    Returns:
        Whether there are several processes now.

    Raises:
        ConfigError: some of the three arguments are missing or make no sense.
        RuntimeError: devices are in use already, or the others do not come.
    """
    given = (coordinator, num_processes, process_id)
    if num_processes == 1 or (given == (None,) * 3 and not _is_launched_with_others()):
        return False
    # What adds up numbers of several processes on CPUs; GPUs and TPUs do not use it.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if coordinator == DETECT or given == (None,) * 3:
        jax.distributed.initialize(num_processes=num_processes, process_id=process_id)
        return jax.process_count() > 1
    if coordinator is None or num_processes is None or process_id is None:
        raise ConfigError(
            "several processes need --coordinator HOST:PORT, --num-processes N and "
            f"--process-id I, all three; got {coordinator}, {num_processes} and "
            f"{process_id}. Under srun, mpirun or on a TPU pod give none of them"
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdigit():
        raise ConfigError(
            f"--coordinator {coordinator}: give host and port of process 0, such as "
            "192.168.0.7:12345"
        )
    if not 0 <= process_id < num_processes:
        raise ConfigError(
            f"--process-id {process_id}: of {num_processes} processes the ids are 0 to "
            f"{num_processes - 1}"
        )
    jax.distributed.initialize(coordinator, num_processes, process_id)
    return True


def _is_launched_with_others() -> bool:
    # Not SLURM_NTASKS: a batch script and an interactive shell have it, too, and the
    # one process that they start would wait for others that never come.
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        count = os.environ.get(name, "")
        if count.isdigit() and int(count) > 1:
            return True
    return "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")


@dataclass(frozen=True)
class Devices:
    """The devices of a run, and how state and batches lie on them.

    Attributes:
        local: this process's.
        everywhere: those of all processes, process by process.
        process: this process's number; 0 leads.
        processes: how many there are.
    """

    local: tuple[Device, ...]
    everywhere: tuple[Device, ...]
    process: int = 0
    processes: int = 1

    @property
    def single(self) -> bool:
        """Whether there is one device in all, and no leading axis."""
        return len(self.everywhere) == 1

    @property
    def leads(self) -> bool:
        """Whether this process writes what the run writes."""
        return self.process == 0

    @property
    def _on_gpu(self) -> bool:
        return self.local[0].platform in ("gpu", "cuda")

    def rows(self, batch_size: int) -> slice:
        """This process's share of a batch.

        Raises:
            ConfigError: the batch cannot be split evenly over all devices.
        """
        count = len(self.everywhere)
        if batch_size % count:
            fit = batch_size + count - batch_size % count
            raise ConfigError(
                f"batch_size = {batch_size} cannot be split evenly over {count} "
                f"devices; give --batch-size {fit}, or fewer --devices"
            )
        share = batch_size // self.processes
        return slice(self.process * share, (self.process + 1) * share)

    def make_step(self, *, stacked: bool = False) -> Step:
        """The compiled step for these devices: `jit_step` on one, else `pmap_step`."""
        if self.single:
            options = graph_options() if self._on_gpu else None
            return jit_step(stacked=stacked, options=options)
        return pmap_step(AXIS, stacked=stacked, devices=self.everywhere)

    def put_state(self, state: Any) -> Any:
        """Copies a tree of plain arrays to each device."""
        if self.single:
            return jax.device_put(state, self.local[0])
        count = len(self.local)

        def replicate(leaf: Any) -> jax.Array:
            leaf = np.asarray(leaf)
            # A view: nothing is copied on the host.
            copies = np.broadcast_to(leaf, (count, *leaf.shape))
            return jax.device_put(copies, self._sharding())

        return jax.tree.map(replicate, state)

    def get_state(self, state: Any) -> Any:
        """Takes one copy of a tree that `put_state` spread; on one device, the tree."""
        if self.single:
            return state
        return jax.tree.map(lambda leaf: leaf.addressable_shards[0].data[0], state)

    @property
    def memory(self) -> int:
        """Bytes of the smallest GPU of this process; 0 of anything else."""
        if not self._on_gpu:
            return 0
        stats = [device.memory_stats() or {} for device in self.local]
        return min(known.get("bytes_limit", 0) for known in stats)

    def cut(
        self,
        faces: Any,
        masks: Any,
        packed: Any,
        *,
        crop_size: int,
        weighted: bool,
        occluded: bool,
        moved: bool,
    ) -> Batch:
        """Cuts the pairs of one dispatch on the devices, without waiting.

        Args:
            faces: of both sides, from `put_state`.
            masks: likewise, or None.
            packed: of `load_cuts`, from `put_batches`.
            crop_size: side of the pairs' pictures in pixels.
            weighted: whether pairs have weights.
            occluded: whether they have occluders.
            moved: whether features of faces are moved.
        """
        devices = None if self.single else self.local
        return _compile_cut(crop_size, weighted, occluded, moved, devices)(
            faces, masks, packed
        )

    def put_batches(self, batches: Sequence[Any]) -> Any:
        """Puts the batches or cuts of one dispatch on the devices, without waiting.

        Args:
            batches: this process's rows of each step; one gives a plain batch, more are
                stacked.
        """
        stacked = len(batches) > 1
        batch = batches[0]
        if stacked:
            batch = jax.tree.map(lambda *parts: np.stack(parts), *batches)
        if self.single:
            return jax.device_put(batch, self.local[0])
        count, axis = len(self.local), int(stacked)

        def split(part: Shaped[np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
            # [steps, n, ...] to [devices, steps, n / devices, ...], steps if stacked.
            shape = part.shape
            shape = (*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])
            return np.moveaxis(part.reshape(shape), axis, 0)

        return jax.device_put(jax.tree.map(split, batch), self._sharding())

    def put_vote(self, vote: int) -> dict[str, Any]:
        """What `pmap_step` shall compare, for its call; on one device nobody asks."""
        if self.single:
            return {}
        votes = np.full(len(self.local), vote, np.int32)
        return {"vote": jax.device_put(votes, self._sharding())}

    def read_metrics(self, metrics: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Waits for the metrics of a dispatch: one value a step, one ``vote``."""
        if not self.single:
            metrics = {k: v.addressable_shards[0].data for k, v in metrics.items()}
        return {k: v.reshape(-1) for k, v in jax.device_get(dict(metrics)).items()}

    def meet(self, *values: int) -> Int[np.ndarray, "processes values"]:
        """Waits for all processes, and gives what each of them brought."""
        brought = np.array(values, np.int32)
        if self.processes == 1:
            return brought[None]
        return np.asarray(multihost_utils.process_allgather(brought))

    def _sharding(self) -> NamedSharding:
        return NamedSharding(Mesh(np.array(self.local), (AXIS,)), PartitionSpec(AXIS))


@cache
def _compile_cut(
    crop_size: int,
    weighted: bool,
    occluded: bool,
    moved: bool,
    devices: tuple[Device, ...] | None,
) -> Callable[..., Batch]:
    cut = partial(
        cut_pairs,
        crop_size=crop_size,
        weighted=weighted,
        occluded=occluded,
        moved=moved,
    )
    return jax.jit(cut) if devices is None else jax.pmap(cut, devices=devices)


def find_devices(count: int | None = None) -> Devices:
    """The devices to train on.

    Args:
        count: how many of each process; None takes all.

    Raises:
        ConfigError: there are not so many.
    """
    use_one_heap()
    processes = jax.process_count()
    groups = [jax.local_devices(process_index=index) for index in range(processes)]
    local = len(groups[jax.process_index()])
    if count is not None and not 1 <= count <= min(len(group) for group in groups):
        raise ConfigError(
            f"--devices {count}: there are {local} here. On a CPU, "
            "XLA_FLAGS=--xla_force_host_platform_device_count=N makes N virtual ones"
        )
    return Devices(
        local=tuple(groups[jax.process_index()][:count]),
        everywhere=tuple(device for group in groups for device in group[:count]),
        process=jax.process_index(),
        processes=processes,
    )
