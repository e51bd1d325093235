"""Two local Ray nodes, one killed in the middle of a chunk; see test_films."""

import importlib
import sys
import time
from pathlib import Path
from typing import Any

from deepfake_jax.cluster.job import Schedule, run_job
from deepfake_jax.cluster.job_file import list_films, write_job
from deepfake_jax.cluster.ray_pool import RayPool
from deepfake_jax.convert_config import ConvertConfig

# By name: type checkers look at this file where Ray is not installed, too.
ray: Any = importlib.import_module("ray")
Cluster: Any = importlib.import_module("ray.cluster_utils").Cluster

MOST = 32
NO_NODES = 77  # exit status: the machine is too busy for a second node


def main() -> None:
    film, run, out = map(Path, sys.argv[1:4])
    config = ConvertConfig(person="largest", backend="onnx", encoder="ffv1")
    memory = 80 * 2**20
    head = {"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False}
    try:
        cluster = Cluster(initialize_head=True, head_node_args=head)
        second = cluster.add_node(num_cpus=1, object_store_memory=memory)
    except Exception as error:  # Ray's own; it gives a node 30 seconds
        print(error)
        sys.exit(NO_NODES)
    ray.init(address=cluster.address, log_to_driver=False)
    films = list_films(film, run, out, config, most=MOST)
    removed: list[Any] = []

    class Killing(RayPool):
        def wait(self, seconds: float) -> Any:
            chunks = [s for s, _ in self._busy.values() if s.kind == "convert"]
            if len(chunks) > 1 and not removed:
                time.sleep(0.5)
                removed.append(second)
                cluster.remove_node(second, allow_graceful=False)
                cluster.add_node(num_cpus=1, object_store_memory=memory)
            return super().wait(seconds)

    with Killing(write_job(films, out), str(cluster.address), count=2) as pool:
        result = run_job(Schedule(films), pool, out=str(out))
    ray.shutdown()
    cluster.shutdown()
    assert removed and not result.problems, result
    print("retries", result.retries)


if __name__ == "__main__":
    main()
