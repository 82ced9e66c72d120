"""Label matchers for the variables at the top of every page. A metric without a label matches `.*` of it."""

from __future__ import annotations

from grafana.dashboard import Variable

CLUSTER = 'cluster=~"$cluster"'
POOL = f'{CLUSTER},job=~"$job",instance=~"$instance"'
QUEUE = f'{CLUSTER},vhost=~"$vhost",prefix=~"$prefix"'
WORKER = f'{POOL},worker=~"$worker"'

# A worker's metrics lead to its virtual host and prefix by the pool's topology_info, so the choice of pools narrows
# with the choice of queues. Without a value of their own, "All" of these two expands to the pools that match.
VARIABLES = (
    Variable("cluster", "Cluster", "label_values(memq_topology_info, cluster)", every=".*"),
    Variable("vhost", "Virtual host", f"label_values(memq_topology_info{{{CLUSTER}}}, vhost)", every=".*"),
    Variable("prefix", "Prefix", f'label_values(memq_topology_info{{{CLUSTER},vhost=~"$vhost"}}, prefix)', every=".*"),
    Variable("job", "Job", f"label_values(memq_topology_info{{{QUEUE}}}, job)"),
    Variable("instance", "Pool", f'label_values(memq_topology_info{{{QUEUE},job=~"$job"}}, instance)'),
)
WORKER_VARIABLE = Variable("worker", "Worker", f"label_values(memq_ready{{{POOL}}}, worker)", every=".*")
