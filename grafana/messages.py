"""Matchers on the labels of memq's metrics for kinds of messages."""

REQUESTS = 'op=~"query|get|count"'
WRITES = 'op=~"upsert|delete|payload|vectors"'
ENDED = 'outcome!~"retried|released|quarantined"'
FAILED = 'outcome=~"refused|dead_lettered"'
# The statuses 500 and above, and 429: what a sender is not to blame for. A test holds it to the table of codes.
OURS = (
    'code=~"overloaded|unexpected|unsupported_by_store|store_error|store_unavailable|quota_exceeded|'
    'deadline_exceeded|delivery_limit"'
)
