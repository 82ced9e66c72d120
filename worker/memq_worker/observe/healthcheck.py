import json
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

_SECONDS = 5.0

# No proxy: an http_proxy of the environment has no business with our own host.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(host: str, port: int, path: str) -> tuple[bool, str]:
    """Return the health of the pool at that address, with a one-line report. `path`: /livez or /readyz."""
    if not port:
        return False, "MEMQ_METRICS_PORT is 0: there is nothing to ask"
    url = f"http://{_local(host)}:{port}{path}"
    try:
        with _http.open(url, timeout=_SECONDS) as answer:
            return True, _line(json.load(answer))
    except urllib.error.HTTPError as refusal:
        try:
            return False, _line(json.load(refusal))
        except (ValueError, KeyError, TypeError):
            return False, f"{url} answers {refusal.code}: is it memq-worker that listens there?"
    except (HTTPException, ValueError, KeyError, TypeError):
        return False, f"{url} answers something else: is it memq-worker that listens there?"
    except OSError as error:
        return False, f"{url} does not answer ({getattr(error, 'reason', None) or error})"


def _local(host: str) -> str:
    """Where a worker that listens on `host` can be reached from its own machine."""
    host = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _line(body: dict[str, Any]) -> str:
    troubles = [
        f"worker {worker['worker']}: {'; '.join(worker.get('reasons') or [worker.get('state', '')])}"
        for worker in body["workers"]
        if not worker.get("ready", worker.get("state") == "running")
    ]
    return ", ".join([str(body["status"]), *troubles])
