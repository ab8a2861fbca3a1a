"""What has a price is a product, at the price of the bill, with a sku that stays."""

from decimal import Decimal

from stead_controller.aws.pricing import products
from stead_controller.aws.pricing.products import Place, Product
from stead_controller.catalog import instance_types
from stead_controller.metering import bills, price_book, skus, uses
from stead_controller.metering.bills import Size
from stead_controller.metering.price_tiers import flat

PLACE = Place("home-1", "Home")
DEFAULT = price_book.parse(price_book.default_text())


def listed(book: price_book.PriceBook = DEFAULT) -> dict[tuple[str, str], Product]:
    found = products.everything(book, instance_types.ALL.values(), PLACE)
    return {(one.attributes["usagetype"], one.attributes["operation"]): one for one in found}


def test_all_that_the_ledger_knows_but_spot_is_a_product_at_the_price_of_the_bill() -> None:
    def size_of(name: str) -> Size:
        return Size(instance_types.ALL[name].vcpus, instance_types.ALL[name].memory)

    found = listed()
    kinds = [kind for kind in uses.OF_TYPES if kind != "SpotUsage:"]
    known = uses.NAMES | {f"{kind}{name}" for kind in kinds for name in instance_types.ALL}
    known |= {f"CPUCredits:{one.family}" for one in instance_types.ALL.values() if one.burstable}
    known |= {f"HostUsage:{one.family}" for one in instance_types.ALL.values() if not one.whole_cores}
    assert {usage for usage, _ in found} == known
    for (usage, _), one in found.items():
        assert one.price == bills.price_of(usage, DEFAULT, size_of)
        assert one.unit == uses.unit_of(usage)


def test_an_instance_type_has_the_attributes_that_tools_ask_for() -> None:
    one = listed()["BoxUsage:t3.micro", "RunInstances"]
    assert (one.family, one.service) == ("Compute Instance", skus.EC2)
    assert dict(one.attributes) == {
        "availabilityzone": "NA",
        "capacitystatus": "Used",
        "clockSpeed": "2.5 GHz",
        "currentGeneration": "Yes",
        "instanceType": "t3.micro",
        "licenseModel": "No License required",
        "location": "Home",
        "locationType": "AWS Region",
        "marketoption": "OnDemand",
        "memory": "1 GiB",
        "networkPerformance": "Up to 5 Gigabit",
        "normalizationSizeFactor": "0.5",
        "operatingSystem": "Linux",
        "operation": "RunInstances",
        "preInstalledSw": "NA",
        "processorArchitecture": "64-bit",
        "regionCode": "home-1",
        "servicecode": "AmazonEC2",
        "servicename": "Amazon Elastic Compute Cloud",
        "storage": "EBS only",
        "tenancy": "Shared",
        "usagetype": "BoxUsage:t3.micro",
        "vcpu": "2",
    }
    assert one.fields["instancetype"] == "t3.micro"
    assert (one.fields["productfamily"], one.fields["termtype"]) == ("Compute Instance", "OnDemand")
    assert one.words == "On Demand Linux t3.micro Instance Hour"
    dedicated = listed()["DedicatedUsage:t3.micro", "RunInstances"]
    assert (dedicated.attributes["tenancy"], dedicated.price) == (
        "Dedicated",
        flat(one.price[0].price * Decimal("1.5")),
    )
    assert dedicated.words == "Dedicated Linux t3.micro Instance Hour"
    assert listed()["HostBoxUsage:t3.micro", "RunInstances"].attributes["tenancy"] == "Host"


def test_unused_reservations_and_dedicated_hosts_have_their_own_words() -> None:
    found = listed()
    unused, used = found["UnusedBox:t3.micro", "RunInstances"], found["BoxUsage:t3.micro", "RunInstances"]
    assert dict(unused.attributes) == dict(used.attributes) | {
        "capacitystatus": "UnusedCapacityReservation", "usagetype": "UnusedBox:t3.micro"
    }  # fmt: skip
    assert (unused.price, unused.words) == (used.price, "Unused Reservation Linux t3.micro Instance Hour")
    host = found["HostUsage:m5", "RunInstances"]
    assert (host.family, host.attributes["instanceType"], host.attributes["tenancy"]) == (
        "Dedicated Host",
        "m5",
        "Host",
    )


def test_types_differ_in_store_and_parts() -> None:
    found = {one.attributes["instanceType"]: one.attributes for (usage, _), one in listed().items() if "BoxU" in usage}
    for name, kind in instance_types.ALL.items():
        about = found[name]
        assert (about["storage"] == "EBS only") == (kind.instance_store is None)
        assert ("gpu" in about) == (kind.gpus is not None)
        assert ("clockSpeed" in about) == (kind.clock_speed is not None)
        assert about["currentGeneration"] == ("Yes" if kind.current_generation else "No")
        assert float(about["memory"].removesuffix(" GiB")) * 1024 == kind.memory_mib
        assert (about["normalizationSizeFactor"] == "NA") == (not uses.normalization(f"BoxUsage:{name}"))


def test_volumes_their_speed_and_addresses() -> None:
    found = listed()
    gp3 = found["EBS:VolumeUsage.gp3", "CreateVolume-Gp3"]
    about = {name: gp3.attributes[name] for name in ("volumeType", "volumeApiName", "storageMedia", "maxVolumeSize")}
    assert about == {
        "volumeType": "General Purpose", "volumeApiName": "gp3", "storageMedia": "SSD-backed", "maxVolumeSize": "64 TiB"
    }  # fmt: skip
    assert (gp3.attributes["maxIopsvolume"], gp3.attributes["maxThroughputvolume"]) == ("80000", "2000 MiB/s")
    gp2 = found["EBS:VolumeUsage.gp2", "CreateVolume-Gp2"].attributes
    assert not {"maxIopsvolume", "maxThroughputvolume"} & set(gp2)
    iops = found["EBS:VolumeP-IOPS.gp3", "CreateVolume-Gp3"]
    assert (iops.family, iops.attributes["group"]) == ("System Operation", "EBS IOPS")
    throughput = found["EBS:VolumeP-Throughput.gp3", "CreateVolume-Gp3"]
    assert (throughput.family, throughput.attributes["group"]) == ("Provisioned Throughput", "EBS Throughput")
    assert found["EBS:SnapshotUsage", "CreateSnapshot"].family == "Storage Snapshot"
    for name in ("Storage", "Retrieval", "EarlyDelete"):
        assert found[f"EBS:SnapshotArchive{name}", "CreateSnapshot"].family == "Storage Snapshot"
    address = found["PublicIPv4:IdleAddress", "AllocateAddressVPC"]
    assert (address.service, address.family, address.attributes["group"]) == (skus.VPC, "", "VPCPublicIPv4Address")
    assert "productfamily" not in address.fields
    assert ("PublicIPv4:InUseAddress", "RunInstances") in found


def test_what_has_no_price_is_no_product() -> None:
    book = price_book.parse('currency = "EUR"\n[[price]]\nusage = "NatGateway-Hours"\nprice = "0"')
    [one] = listed(book).values()
    assert (one.family, one.price) == ("NAT Gateway", flat(Decimal(0)))


def test_skus_are_apart_sorted_and_stay() -> None:
    found = [one.sku for one in products.everything(DEFAULT, instance_types.ALL.values(), PLACE)]
    assert found == sorted(set(found))
    assert skus.sku_of("us-east-1", "BoxUsage:t3.micro", "RunInstances") == "QBBDS4NQJWA276HS"


def test_a_sku_has_the_letters_of_awss() -> None:
    for one in products.everything(DEFAULT, (), PLACE):
        assert len(one.sku) == 16
        assert one.sku.isalnum()
        assert one.sku.isupper()
