"""Compile v1/*.proto into typed Python in the same folder: `python -m stead_proto.generate`.

The generated code is committed; a test in tests/house compares it with a fresh run.
"""

import sys
from pathlib import Path


def generate(output: Path) -> None:
    """Write the generated modules and stubs below `output`, which corresponds to the folder `proto/`.

    Raises RuntimeError when protoc fails.
    """
    from grpc_tools import protoc  # noqa: PLC0415 - only installed for development

    root = Path(__file__).resolve().parent.parent
    sources = sorted(str(path) for path in (root / "stead_proto" / "v1").glob("*.proto"))
    venv_bin = Path(sys.executable).parent
    arguments = [
        "protoc",
        f"-I{root}",
        f"--plugin=protoc-gen-mypy={venv_bin / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={venv_bin / 'protoc-gen-mypy_grpc'}",
        f"--python_out={output}",
        f"--grpc_python_out={output}",
        f"--mypy_out={output}",
        f"--mypy_grpc_out={output}",
        *sources,
    ]
    status = protoc.main(arguments)
    if status:
        raise RuntimeError(f"protoc failed with status {status}")


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent.parent)
