"""The command line that all image builds share: --output, --architecture, --cache, --output-format; a line per step."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from images.architectures import ALL, X86_64, Architecture
from images.packages import DEFAULT_CACHE, ImageBuildError


class Build(Protocol):
    """A build: writes ``output``, keeps packages in ``cache``, tells ``say`` each step, raises ImageBuildError."""

    def __call__(self, output: Path, cache: Path, say: Callable[[str], None], architecture: Architecture) -> None:
        """Build the image."""


def run_as_program(image: str, build: Build, arguments: Sequence[str]) -> int:
    """Build as told by command line arguments; return 0, or 1 when the image cannot be built.

    As ``plain`` each step is a line on stderr with the seconds since the beginning. As ``json`` each step is an object
    on stdout, ``{"image", "seconds", "step"}``, and the last has ``output`` or ``error``.
    """
    parser = argparse.ArgumentParser(description=f"Build the {image} guest image from Debian packages.")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.qcow2")
    parser.add_argument("--architecture", choices=list(ALL), default=X86_64.name)
    parser.add_argument("--cache", type=Path, default=DEFAULT_CACHE, metavar="DIR", help=f"packages ({DEFAULT_CACHE})")
    parser.add_argument("--output-format", choices=("plain", "json"), default="plain")
    options = parser.parse_args(arguments)
    begin = time.monotonic()

    def show(key: str, words: str) -> None:
        seconds = round(time.monotonic() - begin, 2)
        if options.output_format == "json":
            print(json.dumps({"image": image, "seconds": seconds, key: words}), flush=True)
        else:
            said = words if key == "step" else f"{key}: {words}"
            print(f"{image} {seconds:6.2f} s  {said}", file=sys.stderr, flush=True)

    try:
        build(options.output, options.cache, lambda step: show("step", step), ALL[options.architecture])
    except ImageBuildError as failure:
        show("error", str(failure))
        return 1
    show("output", str(options.output))
    return 0
