# A VPC with a public and a private subnet in each zone, and another VPC that is its peer.

resource "aws_vpc" "site" {
  cidr_block                       = "10.30.0.0/16"
  enable_dns_hostnames             = true
  enable_dns_support               = true
  assign_generated_ipv6_cidr_block = true
  tags                             = { Name = var.site }
}

resource "aws_vpc_dhcp_options" "site" {
  domain_name         = "${var.site}.internal"
  domain_name_servers = ["AmazonProvidedDNS"]
  ntp_servers         = ["169.254.169.123"]
  tags                = { Name = var.site }
}

resource "aws_vpc_dhcp_options_association" "site" {
  vpc_id          = aws_vpc.site.id
  dhcp_options_id = aws_vpc_dhcp_options.site.id
}

resource "aws_vpc_ipv4_cidr_block_association" "more" {
  vpc_id     = aws_vpc.site.id
  cidr_block = "10.31.0.0/16"
}

resource "aws_subnet" "public" {
  count                           = length(local.zones)
  vpc_id                          = aws_vpc.site.id
  availability_zone               = local.zones[count.index]
  cidr_block                      = cidrsubnet(aws_vpc.site.cidr_block, 8, count.index)
  ipv6_cidr_block                 = cidrsubnet(aws_vpc.site.ipv6_cidr_block, 8, count.index)
  map_public_ip_on_launch         = true
  assign_ipv6_address_on_creation = true
  tags                            = { Name = "${var.site}-public-${count.index}" }
}

resource "aws_subnet" "private" {
  count             = length(local.zones)
  vpc_id            = aws_vpc.site.id
  availability_zone = local.zones[count.index]
  cidr_block        = cidrsubnet(aws_vpc.site.cidr_block, 8, 100 + count.index)
  tags              = { Name = "${var.site}-private-${count.index}" }
}

resource "aws_internet_gateway" "site" {
  vpc_id = aws_vpc.site.id
  tags   = { Name = var.site }
}

resource "aws_egress_only_internet_gateway" "site" {
  vpc_id = aws_vpc.site.id
  tags   = { Name = var.site }
}

resource "aws_eip" "nat" {
  count      = length(local.zones)
  vpc        = true
  tags       = { Name = "${var.site}-nat-${count.index}" }
  depends_on = [aws_internet_gateway.site]
}

resource "aws_nat_gateway" "site" {
  count         = length(local.zones)
  allocation_id = aws_eip.nat[count.index].id
  subnet_id     = aws_subnet.public[count.index].id
  tags          = { Name = "${var.site}-${count.index}" }
}

# The main route table is taken over, and has no way out.
resource "aws_default_route_table" "site" {
  default_route_table_id = aws_vpc.site.default_route_table_id
  route                  = []
  tags                   = { Name = "${var.site}-main" }
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.site.id
  tags   = { Name = "${var.site}-public" }

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.site.id
  }

  route {
    ipv6_cidr_block = "::/0"
    gateway_id      = aws_internet_gateway.site.id
  }
}

resource "aws_route_table" "private" {
  count  = length(local.zones)
  vpc_id = aws_vpc.site.id
  tags   = { Name = "${var.site}-private-${count.index}" }
}

resource "aws_route" "out" {
  count                  = length(local.zones)
  route_table_id         = aws_route_table.private[count.index].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.site[count.index].id
}

resource "aws_route" "out_ipv6" {
  count                       = length(local.zones)
  route_table_id              = aws_route_table.private[count.index].id
  destination_ipv6_cidr_block = "::/0"
  egress_only_gateway_id      = aws_egress_only_internet_gateway.site.id
}

resource "aws_route" "peer" {
  count                     = length(local.zones)
  route_table_id            = aws_route_table.private[count.index].id
  destination_cidr_block    = aws_vpc.peer.cidr_block
  vpc_peering_connection_id = aws_vpc_peering_connection.peer.id
}

resource "aws_route_table_association" "public" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.public[count.index].id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table_association" "private" {
  count          = length(local.zones)
  subnet_id      = aws_subnet.private[count.index].id
  route_table_id = aws_route_table.private[count.index].id
}

resource "aws_vpc" "peer" {
  cidr_block = "10.40.0.0/16"
  tags       = { Name = "${var.site}-peer" }
}

resource "aws_vpc_peering_connection" "peer" {
  vpc_id      = aws_vpc.site.id
  peer_vpc_id = aws_vpc.peer.id
  auto_accept = true
  tags        = { Name = var.site }
}

resource "aws_vpc_peering_connection_options" "peer" {
  vpc_peering_connection_id = aws_vpc_peering_connection.peer.id

  accepter {
    allow_remote_vpc_dns_resolution = true
  }
}

resource "aws_default_network_acl" "site" {
  default_network_acl_id = aws_vpc.site.default_network_acl_id
  tags                   = { Name = "${var.site}-default" }

  ingress {
    protocol   = -1
    rule_no    = 100
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }

  egress {
    protocol   = -1
    rule_no    = 100
    action     = "allow"
    cidr_block = "0.0.0.0/0"
    from_port  = 0
    to_port    = 0
  }

  lifecycle {
    ignore_changes = [subnet_ids] # as the provider's documentation advises: subnets come and go with other ACLs
  }
}

resource "aws_network_acl" "private" {
  vpc_id     = aws_vpc.site.id
  subnet_ids = aws_subnet.private[*].id
  tags       = { Name = "${var.site}-private" }
}

resource "aws_network_acl_rule" "all" {
  for_each       = { ingress = false, egress = true }
  network_acl_id = aws_network_acl.private.id
  rule_number    = 100
  egress         = each.value
  protocol       = "-1"
  rule_action    = "allow"
  cidr_block     = "0.0.0.0/0"
}

resource "aws_network_acl_rule" "no_telnet" {
  network_acl_id = aws_network_acl.private.id
  rule_number    = 50
  egress         = false
  protocol       = "tcp"
  rule_action    = "deny"
  cidr_block     = "0.0.0.0/0"
  from_port      = 23
  to_port        = 23
}

# Flows of the whole VPC; in Stead the log group is a folder on the hosts, and no role is needed to write there.
resource "aws_flow_log" "site" {
  vpc_id                   = aws_vpc.site.id
  traffic_type             = "REJECT"
  log_destination          = "arn:aws:logs:${var.region}:${data.aws_caller_identity.me.account_id}:log-group:${var.site}"
  iam_role_arn             = aws_iam_role.machine.arn
  max_aggregation_interval = 60
  tags                     = { Name = var.site }
}

# The private subnets reach S3 without the NAT gateways, and this way only the bucket of the site.
resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.site.id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = aws_route_table.private[*].id
  tags            = { Name = "${var.site}-s3" }

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.site.arn, "${aws_s3_bucket.site.arn}/*"]
    }]
  })
}

# They call EC2's API by its usual name without a way out of the VPC, by HTTPS and HTTP alike.
resource "aws_vpc_endpoint" "ec2" {
  vpc_id              = aws_vpc.site.id
  service_name        = "com.amazonaws.${var.region}.ec2"
  vpc_endpoint_type   = "Interface"
  subnet_ids          = aws_subnet.private[*].id
  security_group_ids  = [aws_security_group.api.id]
  private_dns_enabled = true
  tags                = { Name = "${var.site}-ec2" }
}
