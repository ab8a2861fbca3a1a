# Security groups that name each other, and a prefix list that one of them takes.

resource "aws_default_security_group" "site" {
  vpc_id = aws_vpc.site.id # taken over without rules: who forgets to name a group reaches nothing
  tags   = { Name = "${var.site}-default" }
}

resource "aws_ec2_managed_prefix_list" "people" {
  name           = "${var.site}-people"
  address_family = "IPv4"
  max_entries    = 10
  tags           = { Name = var.site }

  dynamic "entry" {
    for_each = toset(var.people)
    content {
      cidr        = entry.value
      description = "people"
    }
  }
}

resource "aws_security_group" "front" {
  name        = "${var.site}-front"
  description = "What people reach"
  vpc_id      = aws_vpc.site.id
  tags        = { Name = "${var.site}-front" }

  ingress {
    description     = "SSH of people"
    protocol        = "tcp"
    from_port       = 22
    to_port         = 22
    prefix_list_ids = [aws_ec2_managed_prefix_list.people.id]
  }

  ingress {
    description      = "HTTP"
    protocol         = "tcp"
    from_port        = 80
    to_port          = 80
    cidr_blocks      = var.people
    ipv6_cidr_blocks = ["::/0"]
  }

  ingress {
    description = "members reach each other"
    protocol    = "icmp"
    from_port   = -1
    to_port     = -1
    self        = true
  }

  egress {
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_security_group" "back" {
  name                   = "${var.site}-back"
  description            = "What only the front reaches"
  vpc_id                 = aws_vpc.site.id
  revoke_rules_on_delete = true # its rules and those of the front name each other
  tags                   = { Name = "${var.site}-back" }
}

resource "aws_security_group" "watch" {
  name                   = "${var.site}-watch"
  description            = "What watches the back"
  vpc_id                 = aws_vpc.site.id
  revoke_rules_on_delete = true
  tags                   = { Name = "${var.site}-watch" }
}

resource "aws_security_group_rule" "back_from_front" {
  for_each                 = toset(["22", "5432"])
  security_group_id        = aws_security_group.back.id
  type                     = "ingress"
  protocol                 = "tcp"
  from_port                = each.value
  to_port                  = each.value
  source_security_group_id = aws_security_group.front.id
  description              = "front to ${each.value}"
}

resource "aws_security_group_rule" "back_from_watch" {
  security_group_id        = aws_security_group.back.id
  type                     = "ingress"
  protocol                 = "tcp"
  from_port                = 9100
  to_port                  = 9100
  source_security_group_id = aws_security_group.watch.id
}

resource "aws_security_group_rule" "watch_from_back" {
  security_group_id        = aws_security_group.watch.id
  type                     = "ingress"
  protocol                 = "udp"
  from_port                = 514
  to_port                  = 514
  source_security_group_id = aws_security_group.back.id
}

resource "aws_security_group_rule" "back_out" {
  security_group_id = aws_security_group.back.id
  type              = "egress"
  protocol          = "-1"
  from_port         = 0
  to_port           = 0
  cidr_blocks       = ["0.0.0.0/0"]
}

resource "aws_security_group" "api" {
  name        = "${var.site}-api"
  description = "Where machines of the site reach the API of EC2"
  vpc_id      = aws_vpc.site.id
  tags        = { Name = "${var.site}-api" }

  dynamic "ingress" {
    for_each = toset([80, 443])
    content {
      protocol    = "tcp"
      from_port   = ingress.value
      to_port     = ingress.value
      cidr_blocks = [aws_vpc.site.cidr_block]
    }
  }
}
