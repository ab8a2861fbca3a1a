"""A rig with images of a small service, and groups over them that are watched from outside each second."""

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from stead_cli.rig_cloud import RigHost
from tests.recovery.groups_on_rig.watch import Group, Watch
from tests.support.real_cloud import ONE_PROCESSOR
from tests.support.rig import RigUser, TestRig
from tests.support.waiting import wait_for

SHOP: Final = Path(__file__).with_name("shop")
QUERY: Final = Path(__file__).parents[2] / "support/aws-query"
ROLE: Final = "shops"
_INIT: Final = "/usr/lib/stead/init"


@dataclass
class Stage:
    """A rig of three hosts, the second of which is in a zone of its own, and an account with two images of a shop."""

    rig: TestRig
    user: RigUser
    say: Callable[[str], None]
    images: dict[str, str] = field(default_factory=dict)  # by what the page says
    failures: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Make clients."""
        self.ec2: Any = self.user.ec2
        self.scaling: Any = self.user.account.client("autoscaling", retries={"total_max_attempts": 5})

    @property
    def zones(self) -> tuple[str, str]:
        """The zone of the first and the third host, and that of the second."""
        return "us-east-1a", "us-east-1b"

    # --- what is said

    def note(self, text: str) -> None:
        """Say something with the seconds since the beginning."""
        self.say(f"{time.monotonic() - self.began:7.1f}  {text}")

    def show(self, what: str, *, holds: bool) -> None:
        """Say whether something holds, and remember if not."""
        self.note(f"{'ok  ' if holds else 'FAIL'}  {what}")
        if not holds:
            self.failures.append(what)

    def wait[T](self, condition: Callable[[], T | None], what: str, seconds: float) -> T:
        """Wait for a condition, say how long it took, and return what it gave."""
        began = time.monotonic()
        found = wait_for(condition, what, seconds, poll=0.2)
        self.note(f"after {time.monotonic() - began:.1f} s: {what}")
        return found

    # --- images

    def open(self) -> None:
        """Let anybody call the guests' service, and this machine their SSH."""
        [group] = self.ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
        rules = [
            {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "198.19.0.0/16"}]}
            for port in (22, 80)
        ]
        self.ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)

    def make_images(self, *names: str) -> None:
        """Make an image of the shop for each name, one of the other: of a guest in which the shop was installed."""
        [instance_id] = self.user.run()
        login = self.user.connect(instance_id)
        for path, program in (("/srv/shop", SHOP), ("/usr/bin/aws-query", QUERY)):
            text = base64.b64encode(program.read_bytes()).decode()
            login.run(f"sudo sh -c 'mkdir -p /srv/page; echo {text} | base64 -d >{path}; chmod 755 {path}'")
        login.run(
            f"sudo sh -c \"sed -i 's,^keep ssh_server &,&\\\\nkeep /srv/shop \\&,' {_INIT}\"; grep -q /srv/shop {_INIT}"
        )
        endpoint = f"http://{self.rig.plan.api_address}:{self.rig.plan.cloud.http_port}"
        login.run(f"sudo sh -c 'echo {endpoint} >/srv/endpoint'")
        for name in names:
            login.run(f"sudo sh -c 'echo {name} >/srv/page/index.html'; sync")
            image_id = self.ec2.create_image(InstanceId=instance_id, Name=f"shop-{name}", NoReboot=True)["ImageId"]
            self.wait(partial(self._is_available, image_id), f"the image of shop {name} is made", 120)
            self.images[name] = image_id
        self.user.terminate([instance_id])

    def _is_available(self, image_id: str) -> bool:
        [image] = self.ec2.describe_images(ImageIds=[image_id])["Images"]
        return bool(image["State"] == "available")

    def drop_images(self) -> None:
        """Deregister the images."""
        for image_id in self.images.values():
            self.ec2.deregister_image(ImageId=image_id, DeleteAssociatedSnapshots=True)
        self.images.clear()

    def make_role(self) -> None:
        """Make the role by which guests complete lifecycle actions."""
        iam = self.user.account.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        right = {"Effect": "Allow", "Action": "autoscaling:CompleteLifecycleAction", "Resource": "*"}
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=_policy(trust))
        iam.put_role_policy(RoleName=ROLE, PolicyName="complete", PolicyDocument=_policy(right))
        iam.create_instance_profile(InstanceProfileName=ROLE)
        iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)

    # --- groups

    def template(self, name: str, image: str, script: str = "", **data: Any) -> int:
        """Make a launch template, or its next version, and return the version's number."""
        chosen = {"ImageId": self.images[image], "InstanceType": ONE_PROCESSOR, "KeyName": self.user.key_name, **data}
        if script:
            chosen["UserData"] = base64.b64encode(f"#!/bin/sh\n{script}\n".encode()).decode()
        known = self.ec2.describe_launch_templates(Filters=[{"Name": "launch-template-name", "Values": [name]}])
        if known["LaunchTemplates"]:
            made = self.ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=chosen)
            return int(made["LaunchTemplateVersion"]["VersionNumber"])
        self.ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=chosen)
        return 1

    @contextmanager
    def group(self, name: str, zones: tuple[str, ...] = (), **options: Any) -> Iterator[tuple[Group, Watch]]:
        """A group of the template of its name, watched while the context is open, and deleted after it."""
        asked: dict[str, Any] = {"MinSize": 0, "MaxSize": 4, "DefaultCooldown": 0, **options}
        asked.setdefault("LaunchTemplate", {"LaunchTemplateName": name, "Version": "1"})
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name, AvailabilityZones=zones or self.zones[:1], **asked
        )
        group = Group(self.ec2, self.scaling, name)
        watch = Watch(group, lambda text: self.note(f"{name}: {text}"))
        with watch:
            try:
                yield group, watch
            finally:
                self.scaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
                self.wait(lambda: not group.exists(), f"{name} is deleted", 120)
        self.ec2.delete_launch_template(LaunchTemplateName=name)

    def serve(self, group: Group, watch: Watch, count: int, seconds: float = 120) -> list[str]:
        """Wait until so many instances, no more and no less, are in service and serve; return their ids."""
        return self.wait(lambda: _exactly(group, watch, count), f"{count} of {group.name} serve", seconds)

    def tell(self, group: Group, limit: int = 100) -> list[dict[str, Any]]:
        """Say what the group says it did, the oldest first, and return it."""
        told = group.activities()[:limit]
        for one in reversed(told):
            self.say(f"         {one['StatusCode']}: {one['Description']}\n             {one['Cause']}")
            if "StatusMessage" in one:
                self.say(f"             {one['StatusMessage']}")
        return told

    # --- hosts

    def host_of(self, instance_id: str) -> RigHost:
        """The host on which an instance's domain is active."""
        [found] = [host for host in self.rig.hosts if host.place.runs and instance_id in domains(host)]
        return found

    def log_faults(self) -> list[str]:
        """What controller and agents logged as warnings or errors, each once."""
        logs = [self.rig.rig.controller.log_file, *(host.agent.log_file for host in self.rig.hosts)]
        found: dict[str, int] = {}
        for log in logs:
            for line in log.read_text(encoding="utf-8").splitlines():
                if any(word in line for word in ("WARNING", "ERROR", "CRITICAL", "Traceback")):
                    key = f"{log.relative_to(self.rig.folder)}: {line[:400]}"
                    found[key] = found.get(key, 0) + 1
        return [*found]


def domains(host: RigHost, *options: str) -> list[str]:
    """The names of a host's active domains."""
    return host.place.run("virsh", "-q", "list", "--name", *options).stdout.split()


def kill_emulator(host: RigHost, instance_id: str) -> bool:
    """Kill -9 a guest's QEMU; tell whether there was one."""
    found = host.place.run("pgrep", "-f", f"^[^ ]*qemu-system.*guest={instance_id},").stdout.split()
    for pid in found:
        host.place.run("kill", "-KILL", pid)
    return bool(found)


def _exactly(group: Group, watch: Watch, count: int) -> list[str] | None:
    states = group.states()
    serving = [one for one, state in states.items() if state == "InService" and one in watch.latest]
    return serving if len(serving) == count == len(states) else None


def _policy(*statements: Mapping[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
