# A machine that people reach, one in each private subnet, an interface and addresses of their own, and an image of one.

data "aws_ami" "base" {
  most_recent = true
  owners      = ["amazon"]

  filter {
    name   = "name"
    values = [var.image_name]
  }
}

resource "aws_key_pair" "site" {
  key_name   = var.site
  public_key = var.public_key
  tags       = { Name = var.site }
}

resource "aws_instance" "front" {
  ami                    = data.aws_ami.base.id
  instance_type          = var.instance_type
  key_name               = aws_key_pair.site.key_name
  subnet_id              = aws_subnet.public[0].id
  vpc_security_group_ids = [aws_security_group.front.id]
  iam_instance_profile   = aws_iam_instance_profile.machine.name
  user_data              = "#!/bin/sh\necho front >/var/tmp/word\n"
  tags                   = { Name = "${var.site}-front" }

  root_block_device {
    volume_type           = "gp3"
    volume_size           = 2
    delete_on_termination = true
    tags                  = { Name = "${var.site}-front" }
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 2
  }
}

data "aws_ec2_instance_type" "back" {
  instance_type = "t3.nano"
}

resource "aws_instance" "back" {
  count                  = length(local.zones)
  ami                    = data.aws_ami.base.id
  instance_type          = data.aws_ec2_instance_type.back.instance_type
  key_name               = aws_key_pair.site.key_name
  subnet_id              = aws_subnet.private[count.index].id
  private_ip             = cidrhost(aws_subnet.private[count.index].cidr_block, 10)
  vpc_security_group_ids = [aws_security_group.back.id]
  placement_group        = aws_placement_group.back.id
  cpu_core_count         = data.aws_ec2_instance_type.back.default_cores
  cpu_threads_per_core   = 1
  hibernation            = true
  tags                   = { Name = "${var.site}-back-${count.index}" }

  credit_specification {
    cpu_credits = var.credits
  }

  root_block_device {
    encrypted = true # where the machine's memory goes when it hibernates
  }

  ebs_block_device {
    device_name = "/dev/sdf"
    volume_type = "gp2"
    volume_size = 1
    encrypted   = true
    tags        = { Name = "${var.site}-back-${count.index}" }
  }
}

# Machines that run in room which others may claim: they get two minutes' notice of their end in their metadata.
resource "aws_spot_instance_request" "worker" {
  count                  = var.workers
  ami                    = data.aws_ami.base.id
  instance_type          = "t3.nano"
  wait_for_fulfillment   = true
  key_name               = aws_key_pair.site.key_name
  subnet_id              = aws_subnet.private[0].id
  vpc_security_group_ids = [aws_security_group.back.id]
  tags                   = { Name = "${var.site}-worker-${count.index}" }

  root_block_device {
    volume_type = "gp3"
    volume_size = 2
  }

  lifecycle {
    ignore_changes = [tags] # the provider reads its own default tags of a request as tags to be removed
  }
}

# What more machines like the front are launched from: aws ec2 run-instances --launch-template LaunchTemplateName=...
resource "aws_launch_template" "front" {
  name                   = "${var.site}-front"
  description            = "machines like the front"
  update_default_version = true
  image_id               = data.aws_ami.base.id
  instance_type          = var.instance_type
  key_name               = aws_key_pair.site.key_name
  user_data              = base64encode("#!/bin/sh\necho front >/var/tmp/word\n")
  tags                   = { Name = "${var.site}-front" }

  iam_instance_profile {
    name = aws_iam_instance_profile.machine.name
  }

  block_device_mappings {
    device_name = "/dev/sda1"

    ebs {
      volume_size = 2
      encrypted   = true
    }
  }

  block_device_mappings {
    device_name = "/dev/sdf"

    ebs {
      volume_type           = "gp2"
      volume_size           = 1
      encrypted             = true
      delete_on_termination = true
    }
  }

  network_interfaces {
    subnet_id                   = aws_subnet.public[0].id
    security_groups             = [aws_security_group.front.id]
    associate_public_ip_address = true
  }

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  placement {
    group_name = aws_placement_group.front.name
  }

  cpu_options {
    core_count       = 1
    threads_per_core = 1
  }

  credit_specification {
    cpu_credits = var.credits
  }

  hibernation_options {
    configured = true
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.site}-more" }
  }
}

resource "aws_eip" "front" {
  vpc        = true
  tags       = { Name = "${var.site}-front" }
  depends_on = [aws_internet_gateway.site]
}

resource "aws_eip_association" "front" {
  instance_id   = aws_instance.front.id
  allocation_id = aws_eip.front.id
}

resource "aws_network_interface" "second" {
  subnet_id         = aws_subnet.public[0].id
  description       = "second interface of the front"
  private_ips       = [cidrhost(aws_subnet.public[0].cidr_block, 50)]
  security_groups   = [aws_security_group.front.id]
  source_dest_check = false
  tags              = { Name = "${var.site}-second" }
}

resource "aws_network_interface_attachment" "second" {
  instance_id          = aws_instance.front.id
  network_interface_id = aws_network_interface.second.id
  device_index         = 1
}

resource "aws_eip" "second" {
  vpc               = true
  network_interface = aws_network_interface.second.id
  tags              = { Name = "${var.site}-second" }
  depends_on        = [aws_internet_gateway.site]
}

resource "aws_ami_from_instance" "front" {
  name                    = "${var.site}-front"
  source_instance_id      = aws_instance.back[0].id
  snapshot_without_reboot = true
  tags                    = { Name = "${var.site}-front" }
}

resource "aws_ami_copy" "front" {
  name              = "${var.site}-copy"
  description       = "a copy"
  source_ami_id     = aws_ami_from_instance.front.id
  source_ami_region = var.region
  tags              = { Name = "${var.site}-copy" }
}
