"""What the storm may ask next: a request to EC2 whose resources are free, with the call that it is to the model; pure.

A resource's kind is the first word of its name: volume-3, instance-1.
"""

import itertools
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tests.recovery.storm.model import GONE, Call, Facts, Model
from tests.recovery.storm.observed import NOTE, TAG

MOST: Final = {"instance": 3, "volume": 8, "snapshot": 5, "image": 2, "address": 4, "group": 5}
MOST_RUNNING: Final = 2
DEVICES: Final = "fghijklmnop"
# How often each is chosen, of those that can be: what boots guests or reads whole disks is dear under emulation.
WEIGHTS: Final = {
    "run_instances": 3,
    "start_instances": 3,
    "stop_instances": 3,
    "terminate_instances": 2,
    "reboot_instances": 1,
    "create_image": 1,
    "create_snapshot": 2,
}
WEIGHT: Final = 4

Learn = Callable[[Mapping[str, Any]], Mapping[str, Facts]]


@dataclass(frozen=True)
class Request:
    """A request: boto3's method and parameters, and what it means to the model."""

    operation: str
    params: Mapping[str, Any]
    after: Mapping[str, Facts]
    reads: tuple[str, ...] = ()
    learn: Learn = lambda _answer: {}

    @cached_property
    def call(self) -> Call:
        """What it is to the model."""
        return Call(self.operation, self.after, frozenset(self.reads))


@dataclass(frozen=True)
class Choices:
    """What every request of the storm takes from the cloud."""

    image_id: str
    zone: str
    default_group: str
    vpc_id: str
    instance_type: str


@dataclass
class RandomRequests:
    """Chooses requests by chance, of those that the model allows now."""

    choices: Choices
    model: Model
    chance: random.Random
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def next(self) -> Request | None:
        """A request whose resources are free, or None when there is none."""
        makers = [
            *(self.run_instances, self.stop_instances, self.start_instances, self.terminate_instances),
            *(self.reboot_instances, self.modify_instance_attribute, self.create_image, self.deregister_image),
            *(self.create_volume, self.attach_volume, self.detach_volume, self.modify_volume, self.delete_volume),
            *(self.create_snapshot, self.delete_snapshot, self.create_tags, self.allocate_address),
            *(self.associate_address, self.disassociate_address, self.release_address, self.create_security_group),
            *(self.authorize_security_group_ingress, self.revoke_security_group_ingress, self.delete_security_group),
        ]
        while makers:
            weights = [WEIGHTS.get(maker.__name__, WEIGHT) for maker in makers]
            (maker,) = self.chance.choices(makers, weights)
            if (request := maker()) is not None:
                return request
            makers.remove(maker)
        return None

    # --- what there is

    def _free(self, kind: str, **facts: str) -> list[str]:
        """The names of free resources of a kind that have these facts."""
        return [
            name
            for name, known in self.model.resources.items()
            if name.startswith(f"{kind}-")
            and all(known.get(fact, "") == value for fact, value in facts.items())
            and self.model.free(name)
        ]

    def _one(self, names: list[str]) -> str | None:
        return self.chance.choice(names) if names else None

    def _id(self, name: str) -> str:
        return self.model.resources[name]["id"]

    def _new(self, kind: str) -> str | None:
        """A name for one more of a kind, unless there may be enough."""
        called = (*self.model.under_way, *self.model.in_doubt)
        names = {*self.model.resources, *(name for call in called for name in call.after)}
        if sum(name.startswith(f"{kind}-") for name in names) >= MOST[kind]:
            return None
        return f"{kind}-{next(self._numbers)}"

    def _with(self, name: str, **facts: str) -> Mapping[str, Facts]:
        """A resource as it is, with other facts."""
        return {name: {**self.model.resources[name], **facts}}

    def _users(self) -> list[str]:
        """Instances that may be given something."""
        return [*self._free("instance", state="running"), *self._free("instance", state="stopped")]

    # --- instances

    def run_instances(self) -> Request | None:
        called = (*self.model.under_way, *self.model.in_doubt)
        running = [name for name, known in self.model.resources.items() if known.get("state") == "running"]
        starting = [each for each in called if each.operation in ("run_instances", "start_instances")]
        mine = [name for name in running if name.startswith("instance-")]
        if len(mine) + len(starting) >= MOST_RUNNING or (name := self._new("instance")) is None:
            return None
        params = {
            "ImageId": self.choices.image_id,
            "InstanceType": self.choices.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "ClientToken": name,
            "TagSpecifications": [*_tags("instance", name), *_tags("volume", f"{name}/disk")],
        }
        after = {name: {"state": "running", "groups": self.choices.default_group, "parts": "1 in-use"}}

        def learn(answer: Mapping[str, Any]) -> Mapping[str, Facts]:
            (made,) = answer["Instances"]
            return {name: {"id": made["InstanceId"], "private": made["PrivateIpAddress"]}}

        return Request("run_instances", params, after, learn=learn)

    def stop_instances(self) -> Request | None:
        name = self._one(self._free("instance", state="running"))
        if name is None:
            return None
        params = {"InstanceIds": [self._id(name)], "Force": True}
        return Request("stop_instances", params, self._with(name, state="stopped"))

    def start_instances(self) -> Request | None:
        running = [name for name, known in self.model.resources.items() if known.get("state") == "running"]
        name = self._one(self._free("instance", state="stopped"))
        if name is None or sum(each.startswith("instance-") for each in running) >= MOST_RUNNING:
            return None
        return Request("start_instances", {"InstanceIds": [self._id(name)]}, self._with(name, state="running"))

    def reboot_instances(self) -> Request | None:
        name = self._one(self._free("instance", state="running"))
        return Request("reboot_instances", {"InstanceIds": [self._id(name)]}, self._with(name)) if name else None

    def terminate_instances(self) -> Request | None:
        """Volumes and addresses that it has are free afterwards, and must be free of other calls before."""
        name = self._one(self._users())
        if name is None:
            return None
        theirs = [each for each, known in self.model.resources.items() if known.get("attached") == name]
        if not all(self.model.free(each) for each in theirs):
            return None
        after: dict[str, Facts] = {name: GONE}
        for each in theirs:
            free = {"state": "available"} if each.startswith("volume-") else {"association": ""}
            after.update(self._with(each, attached="", **free))
        return Request("terminate_instances", {"InstanceIds": [self._id(name)]}, after)

    def modify_instance_attribute(self) -> Request | None:
        """The instance's groups become the default one, or that and another."""
        name, group = self._one(self._users()), self._one(self._free("group"))
        if name is None or group is None:
            return None
        ids = [self.choices.default_group, *([self._id(group)] if self.chance.random() < 0.6 else [])]
        after = self._with(name, groups=" ".join(sorted(ids)))
        params = {"InstanceId": self._id(name), "Groups": ids}
        return Request("modify_instance_attribute", params, after, reads=(group,))

    # --- images and snapshots

    def create_image(self) -> Request | None:
        source = self._one(self._users())
        theirs = [each for each, known in self.model.resources.items() if known.get("attached") == source]
        disks = [each for each in theirs if each.startswith("volume-")]
        if source is None or not all(map(self.model.free, disks)) or (name := self._new("image")) is None:
            return None
        params = {
            "InstanceId": self._id(source),
            "Name": name,
            "NoReboot": True,
            "TagSpecifications": [*_tags("image", name), *_tags("snapshot", f"{name}/snapshot")],
        }
        after = {name: {"state": "available", "parts": f"{1 + len(disks)} completed"}}
        return Request(
            "create_image",
            params,
            after,
            reads=(source, *disks),
            learn=lambda answer: {name: {"id": answer["ImageId"]}},
        )

    def deregister_image(self) -> Request | None:
        name = self._one(self._free("image"))
        if name is None:
            return None
        params = {"ImageId": self._id(name), "DeleteAssociatedSnapshots": True}
        return Request("deregister_image", params, {name: GONE})

    def create_snapshot(self) -> Request | None:
        volume = self._one(self._free("volume"))
        if volume is None or (name := self._new("snapshot")) is None:
            return None
        params = {"VolumeId": self._id(volume), "TagSpecifications": _tags("snapshot", name)}
        after = {name: {"state": "completed", "size": self.model.resources[volume]["size"]}}
        return Request(
            "create_snapshot",
            params,
            after,
            reads=(volume,),
            learn=lambda answer: {name: {"id": answer["SnapshotId"]}},
        )

    def delete_snapshot(self) -> Request | None:
        name = self._one(self._free("snapshot"))
        return Request("delete_snapshot", {"SnapshotId": self._id(name)}, {name: GONE}) if name else None

    # --- volumes

    def create_volume(self) -> Request | None:
        if (name := self._new("volume")) is None:
            return None
        params: dict[str, Any] = {"AvailabilityZone": self.choices.zone, "TagSpecifications": _tags("volume", name)}
        source = self._one(self._free("snapshot")) if self.chance.random() < 0.4 else None
        size = "1" if source is None else self.model.resources[source]["size"]
        params |= {"Size": int(size)} if source is None else {"SnapshotId": self._id(source)}
        after = {name: {"state": "available", "size": size, "attached": "", "note": ""}}
        reads = () if source is None else (source,)
        return Request("create_volume", params, after, reads, lambda answer: {name: {"id": answer["VolumeId"]}})

    def attach_volume(self) -> Request | None:
        volume, instance = self._one(self._free("volume", state="available")), self._one(self._users())
        if volume is None or instance is None:
            return None
        letter = DEVICES[int(volume.partition("-")[2]) % len(DEVICES)]
        params = {"VolumeId": self._id(volume), "InstanceId": self._id(instance), "Device": f"/dev/sd{letter}"}
        after = self._with(volume, state="in-use", attached=instance)
        return Request("attach_volume", params, after, reads=(instance,))

    def detach_volume(self) -> Request | None:
        volume = self._one(self._free("volume", state="in-use"))
        if volume is None or not self.model.free(user := self.model.resources[volume]["attached"]):
            return None
        after = self._with(volume, state="available", attached="")
        return Request("detach_volume", {"VolumeId": self._id(volume)}, after, reads=(user,))

    def modify_volume(self) -> Request | None:
        """Each volume grows once: EC2 lets nobody change one again within hours."""
        name = self._one(self._free("volume", size="1"))
        if name is None:
            return None
        return Request("modify_volume", {"VolumeId": self._id(name), "Size": 2}, self._with(name, size="2"))

    def delete_volume(self) -> Request | None:
        name = self._one(self._free("volume", state="available"))
        return Request("delete_volume", {"VolumeId": self._id(name)}, {name: GONE}) if name else None

    def create_tags(self) -> Request | None:
        name = self._one(self._free("volume"))
        if name is None:
            return None
        word = f"{self.chance.randrange(1000)}"
        params = {"Resources": [self._id(name)], "Tags": [{"Key": NOTE, "Value": word}]}
        return Request("create_tags", params, self._with(name, note=word))

    # --- addresses

    def allocate_address(self) -> Request | None:
        if (name := self._new("address")) is None:
            return None

        def learn(answer: Mapping[str, Any]) -> Mapping[str, Facts]:
            return {name: {"id": answer["AllocationId"], "address": answer["PublicIp"]}}

        params = {"Domain": "vpc", "TagSpecifications": _tags("elastic-ip", name)}
        return Request("allocate_address", params, {name: {"attached": "", "association": ""}}, learn=learn)

    def associate_address(self) -> Request | None:
        taken = {known.get("attached") for name, known in self.model.resources.items() if name.startswith("address-")}
        name = self._one(self._free("address", attached=""))
        instance = self._one([each for each in self._users() if each not in taken])
        if name is None or instance is None:
            return None

        def learn(answer: Mapping[str, Any]) -> Mapping[str, Facts]:
            return {name: {"association": answer["AssociationId"]}}

        params = {"AllocationId": self._id(name), "InstanceId": self._id(instance), "AllowReassociation": False}
        after = {name: {key: fact for key, fact in self.model.resources[name].items() if key != "association"}}
        after[name]["attached"] = instance
        return Request("associate_address", params, after, reads=(instance,), learn=learn)

    def disassociate_address(self) -> Request | None:
        taken = [name for name in self._free("address") if self.model.resources[name].get("association")]
        name = self._one([each for each in taken if self.model.free(self.model.resources[each]["attached"])])
        if name is None:
            return None
        known = self.model.resources[name]
        after = self._with(name, attached="", association="")
        params = {"AssociationId": known["association"]}
        return Request("disassociate_address", params, after, reads=(known["attached"],))

    def release_address(self) -> Request | None:
        name = self._one(self._free("address", attached=""))
        return Request("release_address", {"AllocationId": self._id(name)}, {name: GONE}) if name else None

    # --- security groups

    def create_security_group(self) -> Request | None:
        if (name := self._new("group")) is None:
            return None
        params = {
            "GroupName": name,
            "Description": "of the storm",
            "VpcId": self.choices.vpc_id,
            "TagSpecifications": _tags("security-group", name),
        }
        learn: Learn = lambda answer: {name: {"id": answer["GroupId"]}}  # noqa: E731 — its type would not fit otherwise
        return Request("create_security_group", params, {name: {"rules": ""}}, learn=learn)

    def authorize_security_group_ingress(self) -> Request | None:
        name = self._one(self._free("group"))
        if name is None:
            return None
        port, block = self.chance.randrange(1, 6000), f"10.{self.chance.randrange(250)}.0.0/16"
        rules = {*self.model.resources[name]["rules"].split(), f"tcp:{port}:{block}"}
        after = self._with(name, rules=" ".join(sorted(rules)))
        return Request("authorize_security_group_ingress", self._rule(name, port, block), after)

    def revoke_security_group_ingress(self) -> Request | None:
        name = self._one([each for each in self._free("group") if self.model.resources[each]["rules"]])
        if name is None:
            return None
        rules = self.model.resources[name]["rules"].split()
        gone = self.chance.choice(rules)
        _, port, block = gone.split(":")
        after = self._with(name, rules=" ".join(rule for rule in rules if rule != gone))
        return Request("revoke_security_group_ingress", self._rule(name, int(port), block), after)

    def _rule(self, name: str, port: int, block: str) -> Mapping[str, Any]:
        ports = {"FromPort": port, "ToPort": port, "CidrIp": block}
        return {"GroupId": self._id(name), "IpProtocol": "tcp", **ports}

    def delete_security_group(self) -> Request | None:
        used = {each for known in self.model.resources.values() for each in known.get("groups", "").split()}
        name = self._one([each for each in self._free("group") if self._id(each) not in used])
        return Request("delete_security_group", {"GroupId": self._id(name)}, {name: GONE}) if name else None


def _tags(kind: str, name: str) -> list[Mapping[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": TAG, "Value": name}]}]
