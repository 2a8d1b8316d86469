"""The server of `edgephi serve` on Ray Serve, one model for each replica: an example to start from.

    EDGEPHI_MODEL=/models/phi4mm EDGEPHI_REPLICAS=4 serve run docs.ray_serve:deployment

A replica reserves its threads as CPUs. It takes as many requests at once as its queue has places and one that runs;
Ray Serve sends each to the less busy of two replicas, and starts a replica that ended again.
"""

from __future__ import annotations

import os
from pathlib import Path

from ray import serve

from edgephi import Model
from edgephi_serve.asgi import Application
from edgephi_serve.settings import Access, Limits, Settings

FOLDER = os.path.abspath(os.environ["EDGEPHI_MODEL"])
REPLICAS = int(os.environ.get("EDGEPHI_REPLICAS", "2"))
THREADS = int(os.environ.get("EDGEPHI_THREADS", "1"))
#: Names by which clients address the proxies, besides localhost.
HOSTS = tuple(os.environ.get("EDGEPHI_HOSTS", "").split())
QUEUE = 4


def application() -> Application:
    """Called in each replica."""
    settings = Settings(limits=Limits(queue=QUEUE), access=Access(hosts=HOSTS, key=os.environ.get("EDGEPHI_API_KEY")))
    return Application(Path(FOLDER), settings, lambda: Model.load(FOLDER, threads=THREADS, max_queue=QUEUE + 16))


deployment = serve.deployment(
    serve.ingress(application)(),
    name="edgephi",
    num_replicas=REPLICAS,
    max_ongoing_requests=QUEUE + 1,
    ray_actor_options={"num_cpus": THREADS},
    graceful_shutdown_timeout_s=60,
    health_check_period_s=2,
).bind()
