"""The store that the settings select."""

from stead_controller.clock import Clock
from stead_controller.metrics.datum import Store
from stead_controller.metrics.embedded import EmbeddedEngine
from stead_controller.metrics.engine_store import EngineStore
from stead_controller.metrics.http_engine import HttpEngine
from stead_controller.settings import Settings


def open_store(settings: Settings, clock: Clock) -> Store:
    """Return the store of metrics, before the configured engine or the embedded one; raises OSError."""
    if not settings.metrics_endpoint:
        return EngineStore(EmbeddedEngine(settings.metrics_folder), clock)
    path = settings.metrics_token_file
    token = path.read_text(encoding="utf-8").strip() if path is not None else ""
    return EngineStore(HttpEngine(settings.metrics_endpoint.rstrip("/"), token=token), clock)
