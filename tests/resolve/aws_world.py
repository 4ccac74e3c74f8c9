"""A small account as the AWS CLI prints it; addresses and ids are made up."""

from __future__ import annotations

import json
from pathlib import Path

ACCOUNT, REGION = "111111111111", "us-east-1"

WORLD: dict[str, dict] = {
    "describe-availability-zones": {
        "AvailabilityZones": [
            {"ZoneName": "us-east-1a", "ZoneId": "use1-az4", "RegionName": REGION},
            {"ZoneName": "us-east-1b", "ZoneId": "use1-az6", "RegionName": REGION},
        ]
    },
    "describe-vpcs": {
        "Vpcs": [
            {
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "CidrBlock": "10.0.0.0/16",
                "CidrBlockAssociationSet": [
                    {"CidrBlock": "10.0.0.0/16", "CidrBlockState": {"State": "associated"}},
                    {"CidrBlock": "100.64.0.0/16", "CidrBlockState": {"State": "associated"}},
                ],
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2600:1f18:aaaa::/56"}],
                "Tags": [{"Key": "Environment", "Value": "prod"}],
            }
        ]
    },
    "describe-subnets": {
        "Subnets": [
            {
                "SubnetId": "subnet-a",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1a",
                "AvailabilityZoneId": "use1-az4",
                "CidrBlock": "10.0.1.0/24",
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2600:1f18:aaaa:1::/64"}],
            },
            {
                "SubnetId": "subnet-b",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1b",
                "AvailabilityZoneId": "use1-az6",
                "CidrBlock": "10.0.2.0/24",
            },
        ]
    },
    "describe-network-interfaces": {
        "NetworkInterfaces": [
            {
                "NetworkInterfaceId": "eni-node",
                "SubnetId": "subnet-a",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1a",
                "InterfaceType": "interface",
                "Description": "aws-K8S-i-0abc",
                "RequesterManaged": False,
                "Attachment": {"InstanceId": "i-0abc", "DeviceIndex": 0},
                "PrivateIpAddress": "10.0.1.10",
                "PrivateIpAddresses": [
                    {
                        "PrivateIpAddress": "10.0.1.10",
                        "Primary": True,
                        "Association": {"PublicIp": "3.80.0.10", "IpOwnerId": "amazon"},
                    },
                    {"PrivateIpAddress": "10.0.1.11", "Primary": False},
                ],
                "Ipv6Addresses": [{"Ipv6Address": "2600:1f18:aaaa:1::10"}],
                "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.32/28"}],
                "Ipv6Prefixes": [{"Ipv6Prefix": "2600:1f18:aaaa:1:8::/80"}],
                "TagSet": [],
            },
            {
                "NetworkInterfaceId": "eni-nat",
                "SubnetId": "subnet-b",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1b",
                "InterfaceType": "nat_gateway",
                "Description": "Interface for NAT Gateway nat-1",
                "RequesterManaged": True,
                "PrivateIpAddresses": [
                    {"PrivateIpAddress": "10.0.2.220", "Association": {"PublicIp": "3.80.0.20"}}
                ],
            },
            {
                "NetworkInterfaceId": "eni-vpce",
                "SubnetId": "subnet-a",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1a",
                "InterfaceType": "vpc_endpoint",
                "Description": "VPC Endpoint Interface vpce-sts",
                "RequesterManaged": True,
                "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.50"}],
            },
            {
                "NetworkInterfaceId": "eni-tgw",
                "SubnetId": "subnet-a",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1a",
                "InterfaceType": "transit_gateway",
                "Description": "Network Interface for Transit Gateway Attachment tgw-attach-a",
                "RequesterManaged": True,
                "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.60"}],
            },
            {
                "NetworkInterfaceId": "eni-odd",
                "SubnetId": "subnet-a",
                "VpcId": "vpc-a",
                "OwnerId": ACCOUNT,
                "AvailabilityZone": "us-east-1a",
                "InterfaceType": "interface",
                "Description": "made by a service of tomorrow",
                "RequesterManaged": True,
                "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.1.70"}],
            },
        ]
    },
    "describe-instances": {
        "Reservations": [
            {
                "Instances": [
                    {
                        "InstanceId": "i-0abc",
                        "Tags": [{"Key": "Team", "Value": "platform"}],
                        "NetworkInterfaces": [],
                    },
                    {
                        "InstanceId": "i-0def",
                        "Tags": [{"Key": "service", "Value": "batch"}],
                        "NetworkInterfaces": [
                            {
                                "NetworkInterfaceId": "eni-batch",
                                "SubnetId": "subnet-b",
                                "VpcId": "vpc-a",
                                "OwnerId": ACCOUNT,
                                "Description": "",
                                "InterfaceType": "interface",
                                "Attachment": {"DeviceIndex": 0},
                                "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.2.30"}],
                            }
                        ],
                    },
                ]
            }
        ]
    },
    "describe-addresses": {
        "Addresses": [
            {"PublicIp": "3.80.0.20", "AllocationId": "eipalloc-nat", "AssociationId": "x"},
            {"PublicIp": "3.80.0.99", "AllocationId": "eipalloc-idle"},
        ]
    },
    "describe-nat-gateways": {
        "NatGateways": [
            {
                "NatGatewayId": "nat-1",
                "VpcId": "vpc-a",
                "SubnetId": "subnet-b",
                "State": "available",
                "NatGatewayAddresses": [
                    {
                        "NetworkInterfaceId": "eni-nat",
                        "PrivateIp": "10.0.2.220",
                        "PublicIp": "3.80.0.20",
                    }
                ],
            },
            {
                "NatGatewayId": "nat-regional",
                "VpcId": "vpc-a",
                "State": "available",
                "AvailabilityMode": "regional",
                "NatGatewayAddresses": [
                    {"PublicIp": "3.80.0.21", "AvailabilityZoneId": "use1-az4"},
                    {"PublicIp": "3.80.0.22", "AvailabilityZoneId": "use1-az6"},
                ],
            },
            {"NatGatewayId": "nat-old", "VpcId": "vpc-a", "State": "deleted"},
        ]
    },
    "describe-vpc-endpoints": {
        "VpcEndpoints": [
            {
                "VpcEndpointId": "vpce-s3",
                "VpcEndpointType": "Gateway",
                "VpcId": "vpc-a",
                "ServiceName": "com.amazonaws.us-east-1.s3",
                "State": "available",
                "OwnerId": ACCOUNT,
            },
            {
                "VpcEndpointId": "vpce-sts",
                "VpcEndpointType": "Interface",
                "VpcId": "vpc-a",
                "ServiceName": "com.amazonaws.us-east-1.sts",
                "State": "available",
                "OwnerId": ACCOUNT,
                "SubnetIds": ["subnet-a"],
                "NetworkInterfaceIds": ["eni-vpce"],
            },
            {
                "VpcEndpointId": "vpce-firewall",
                "VpcEndpointType": "GatewayLoadBalancer",
                "VpcId": "vpc-a",
                "ServiceName": "com.amazonaws.vpce.us-east-1.vpce-svc-1",
                "State": "available",
                "OwnerId": ACCOUNT,
            },
        ]
    },
    "describe-vpc-peering-connections": {
        "VpcPeeringConnections": [
            {
                "VpcPeeringConnectionId": "pcx-1",
                "Status": {"Code": "active"},
                "RequesterVpcInfo": {
                    "VpcId": "vpc-a",
                    "OwnerId": ACCOUNT,
                    "Region": REGION,
                    "CidrBlock": "10.0.0.0/16",
                    "CidrBlockSet": [{"CidrBlock": "10.0.0.0/16"}],
                },
                "AccepterVpcInfo": {
                    "VpcId": "vpc-far",
                    "OwnerId": "222222222222",
                    "Region": "eu-west-1",
                    "CidrBlock": "10.9.0.0/16",
                    "CidrBlockSet": [{"CidrBlock": "10.9.0.0/16"}],
                },
            },
            {
                "VpcPeeringConnectionId": "pcx-gone",
                "Status": {"Code": "deleted"},
                "AccepterVpcInfo": {"VpcId": "vpc-x", "CidrBlock": "10.8.0.0/16"},
            },
        ]
    },
    "describe-transit-gateways": {
        "TransitGateways": [
            {"TransitGatewayId": "tgw-1", "OwnerId": "333333333333", "State": "available"}
        ]
    },
    "describe-transit-gateway-attachments": {
        "TransitGatewayAttachments": [
            {
                "TransitGatewayAttachmentId": "tgw-attach-a",
                "TransitGatewayId": "tgw-1",
                "ResourceOwnerId": ACCOUNT,
                "ResourceType": "vpc",
                "ResourceId": "vpc-a",
                "State": "available",
                "Association": {"TransitGatewayRouteTableId": "tgw-rtb-1", "State": "associated"},
            },
            {
                "TransitGatewayAttachmentId": "tgw-attach-vpn",
                "TransitGatewayId": "tgw-1",
                "ResourceOwnerId": "333333333333",
                "ResourceType": "vpn",
                "ResourceId": "vpn-1",
                "State": "available",
            },
        ]
    },
    "describe-transit-gateway-vpc-attachments": {
        "TransitGatewayVpcAttachments": [
            {
                "TransitGatewayAttachmentId": "tgw-attach-a",
                "TransitGatewayId": "tgw-1",
                "VpcId": "vpc-a",
                "VpcOwnerId": ACCOUNT,
                "State": "available",
            },
            {
                "TransitGatewayAttachmentId": "tgw-attach-egress",
                "TransitGatewayId": "tgw-1",
                "VpcId": "vpc-egress",
                "VpcOwnerId": "444444444444",
                "State": "available",
            },
        ]
    },
    "describe-transit-gateway-route-tables": {
        "TransitGatewayRouteTables": [
            {"TransitGatewayRouteTableId": "tgw-rtb-1", "TransitGatewayId": "tgw-1"}
        ]
    },
    "search-transit-gateway-routes/tgw-rtb-1": {
        "Routes": [
            {
                "DestinationCidrBlock": "0.0.0.0/0",
                "Type": "static",
                "State": "active",
                "TransitGatewayAttachments": [
                    {
                        "TransitGatewayAttachmentId": "tgw-attach-egress",
                        "ResourceType": "vpc",
                        "ResourceId": "vpc-egress",
                    }
                ],
            },
            {
                "DestinationCidrBlock": "192.168.0.0/16",
                "Type": "propagated",
                "State": "active",
                "TransitGatewayAttachments": [
                    {
                        "TransitGatewayAttachmentId": "tgw-attach-vpn",
                        "ResourceType": "vpn",
                        "ResourceId": "vpn-1",
                    }
                ],
            },
            {"DestinationCidrBlock": "10.66.0.0/16", "Type": "static", "State": "blackhole"},
        ]
    },
    "describe-managed-prefix-lists": {
        "PrefixLists": [
            {"PrefixListId": "pl-s3", "PrefixListName": "com.amazonaws.us-east-1.s3"},
            {"PrefixListId": "pl-ddb", "PrefixListName": "com.amazonaws.us-east-1.dynamodb"},
            {"PrefixListId": "pl-ours", "PrefixListName": "offices"},
            {"PrefixListId": "pl-lost", "PrefixListName": "not dumped"},
        ]
    },
    "get-managed-prefix-list-entries/pl-s3": {"Entries": [{"Cidr": "52.216.0.0/15"}]},
    "get-managed-prefix-list-entries/pl-ours": {
        "Entries": [{"Cidr": "172.30.0.0/16", "Description": "office"}]
    },
    "describe-route-tables": {
        "RouteTables": [
            {
                "RouteTableId": "rtb-main",
                "VpcId": "vpc-a",
                "Associations": [{"Main": True, "RouteTableId": "rtb-main"}],
                "Routes": [
                    {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"},
                    {"DestinationCidrBlock": "0.0.0.0/0", "GatewayId": "igw-1"},
                ],
            },
            {
                "RouteTableId": "rtb-private",
                "VpcId": "vpc-a",
                "Associations": [{"Main": False, "SubnetId": "subnet-a"}],
                "Routes": [
                    {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"},
                    {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1"},
                    {"DestinationPrefixListId": "pl-s3", "GatewayId": "vpce-s3"},
                    {"DestinationPrefixListId": "pl-ddb", "GatewayId": "vpce-ddb"},
                    {"DestinationPrefixListId": "pl-ours", "GatewayId": "vgw-1"},
                    {"DestinationPrefixListId": "pl-lost", "NatGatewayId": "nat-1"},
                    {
                        "DestinationIpv6CidrBlock": "::/0",
                        "EgressOnlyInternetGatewayId": "eigw-1",
                    },
                    {"DestinationCidrBlock": "10.9.0.0/16", "VpcPeeringConnectionId": "pcx-1"},
                    {"DestinationCidrBlock": "10.0.0.0/8", "TransitGatewayId": "tgw-1"},
                    {
                        "DestinationCidrBlock": "10.7.0.0/16",
                        "GatewayId": "vgw-1",
                        "Origin": "EnableVgwRoutePropagation",
                        "State": "active",
                    },
                    {
                        "DestinationCidrBlock": "10.7.0.0/16",
                        "TransitGatewayId": "tgw-1",
                        "Origin": "CreateRoute",
                        "State": "active",
                    },
                    {
                        "DestinationCidrBlock": "10.5.0.0/16",
                        "VpcPeeringConnectionId": "pcx-gone",
                        "State": "blackhole",
                    },
                    {"DestinationCidrBlock": "203.0.113.0/24", "GatewayId": "vpce-firewall"},
                    {"DestinationCidrBlock": "198.51.100.0/24", "NetworkInterfaceId": "eni-box"},
                    {"DestinationCidrBlock": "192.0.2.0/24", "NatGatewayId": "nat-regional"},
                ],
            },
        ]
    },
    "describe-load-balancers": {
        "LoadBalancers": [
            {
                "LoadBalancerArn": "arn:aws:elasticloadbalancing:us-east-1:111111111111:"
                "loadbalancer/net/edge/50dc",
                "Type": "network",
                "VpcId": "vpc-a",
                "AvailabilityZones": [
                    {
                        "ZoneName": "us-east-1b",
                        "SubnetId": "subnet-b",
                        "LoadBalancerAddresses": [
                            {"IpAddress": "3.80.0.80", "PrivateIPv4Address": "10.0.2.80"}
                        ],
                    }
                ],
            }
        ]
    },
}


def write(directory: Path, world: dict[str, dict] = WORLD, account: str = ACCOUNT) -> Path:
    """Write `world` as an inventory directory and return it."""
    for name, content in world.items():
        path = directory / "aws" / account / REGION / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return directory
