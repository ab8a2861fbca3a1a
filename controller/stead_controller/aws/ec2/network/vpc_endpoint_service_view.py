"""Services of VPC endpoints as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.request.cloud import Cloud
from stead_controller.request.zones import zone_ids
from stead_controller.resources.network.vpc_endpoint_services import INTERFACE, Service, has_gateways


def vpc_endpoint_service_view(cloud: Cloud, service: Service) -> Result:
    """Show a service; only one with interface endpoints has private DNS names."""
    by_zone = zone_ids(cloud)
    return _names_view(cloud, service) | {
        "ServiceName": service.name(cloud),
        "ServiceId": _id_of(cloud, service),
        "ServiceType": [{"ServiceType": service.endpoint_type}],
        "ServiceRegion": cloud.region,
        "AvailabilityZoneIds": [by_zone[zone] for zone in cloud.zones],
        "AvailabilityZones": list(cloud.zones),
        "Owner": "amazon",
        "VpcEndpointPolicySupported": True,
        "AcceptanceRequired": False,
        "ManagesVpcEndpoints": False,
        "Tags": [],
        "SupportedIpAddressTypes": ["ipv4"],
    }


def _id_of(cloud: Cloud, service: Service) -> str:
    """Return the id of a service, which is another one for its interface endpoints where it has gateways as well."""
    has_both = service.endpoint_type == INTERFACE and has_gateways(service.name(cloud))
    return f"vpce-svc-{service.code}-interface" if has_both else f"vpce-svc-{service.code}"


def _names_view(cloud: Cloud, service: Service) -> Result:
    names: Result = {"BaseEndpointDnsNames": [service.domain(cloud.region)]}
    if service.endpoint_type != INTERFACE:
        return names
    private = service.private_names(cloud.region)
    return names | {
        "PrivateDnsName": private[0],
        "PrivateDnsNames": [{"PrivateDnsName": name} for name in private],
        "PrivateDnsNameVerificationState": "verified",
    }
