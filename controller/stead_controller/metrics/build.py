"""The store that the settings select, and the copies that they want."""

from pathlib import Path

from stead_controller.clock import Clock
from stead_controller.metrics.copies import Copies, CopyingEngine
from stead_controller.metrics.datum import Store
from stead_controller.metrics.embedded import EmbeddedEngine
from stead_controller.metrics.engine_store import Engine, EngineStore
from stead_controller.metrics.http_engine import HttpEngine
from stead_controller.settings import Settings


def open_store(settings: Settings, clock: Clock, copies: Copies | None = None) -> Store:
    """Return the store of metrics, before the configured engine or the embedded one; raises OSError."""
    engine: Engine = EmbeddedEngine(settings.metrics_folder)
    if settings.metrics_endpoint:
        engine = HttpEngine(
            settings.metrics_endpoint.rstrip("/"),
            token=_token(settings.metrics_token_file),
            ca_file=settings.metrics_ca_file,
        )
    return EngineStore(engine if copies is None else CopyingEngine(engine, copies), clock)


def open_copies(settings: Settings) -> Copies | None:
    """Return what sends copies of all samples to another server; None where none is wanted. Raises OSError."""
    if not settings.remote_write_url:
        return None
    receiver = HttpEngine(settings.remote_write_url, token=_token(settings.remote_write_token_file))
    return Copies(settings.state_dir / "metrics-copies", receiver)


def _token(path: Path | None) -> str:
    return path.read_text(encoding="utf-8").strip() if path is not None else ""
