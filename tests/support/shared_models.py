"""What botocore reads and generates of a service, made once in a process instead of for each of its sessions and clients.

It imports nothing but botocore: `tests/clients/shared_start/sitecustomize.py` runs it among the packages of another client.
"""

from functools import cache
from typing import Any

import botocore.client
import botocore.loaders
from botocore.model import ServiceModel


@cache
def share_among_clients() -> None:
    """Share among all boto3 clients of a service, of whatever session, what botocore makes for each of them."""
    _share_client_classes()
    _share_models()


def _share_client_classes() -> None:
    """Share one class among a service's boto3 clients: botocore generates it for each, with EC2's 700 operations."""
    creator: Any = botocore.client.ClientCreator
    write = creator._create_client_class
    written: dict[Any, type] = {}

    def find_or_write(self: Any, service_name: str, service_model: Any) -> type:
        # What a session adds itself, as boto3 adds upload_file to S3, makes it a different class.
        added: dict[str, Any] = {}
        bases: list[type] = []
        event = f"creating-client-class.{service_model.service_id.hyphenize()}"
        self._event_emitter.emit(event, class_attributes=added, base_classes=bases)
        key = (service_name, *sorted(added), *bases)
        if key not in written:
            written[key] = write(self, service_name, service_model)
        return written[key]

    creator._create_client_class = find_or_write


def _share_models() -> None:
    """Share what botocore reads of a service among all sessions: each account's would read EC2's 2 MB anew, in 0.1 s."""
    loader: Any = botocore.loaders.Loader
    begin = loader.__init__
    read: dict[Any, dict[Any, Any]] = {}  # by the folders that are searched

    def begin_with_what_was_read(self: Any, extra_search_paths: Any = None, *others: Any, **options: Any) -> None:
        begin(self, extra_search_paths, *others, **options)
        self._cache = read.setdefault((tuple(self.search_paths), *others, *sorted(options.items())), {})

    models: dict[int, ServiceModel] = {}

    def find_or_make(self: Any, service_name: str, api_version: str | None = None) -> ServiceModel:
        content = self._loader.load_service_model(service_name, "service-2", api_version=api_version)
        model = models.get(id(content))
        if model is None:  # a model holds its content, so no other gets this id
            model = models[id(content)] = ServiceModel(content, service_name=service_name)
        return model

    loader.__init__ = begin_with_what_was_read
    creator: Any = botocore.client.ClientCreator
    creator._load_service_model = find_or_make
