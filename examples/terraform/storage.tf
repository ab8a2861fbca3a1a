# A volume of data with its snapshot, and what is made of that.

resource "aws_ebs_volume" "data" {
  availability_zone = local.zones[0]
  size              = var.data_size
  type              = "gp3"
  iops              = 3000
  throughput        = 125
  encrypted         = true
  tags              = { Name = "${var.site}-data" }
}

resource "aws_volume_attachment" "data" {
  device_name = "/dev/sdg"
  volume_id   = aws_ebs_volume.data.id
  instance_id = aws_instance.front.id
}

resource "aws_ebs_snapshot" "data" {
  volume_id   = aws_ebs_volume.data.id
  description = "the first"
  tags        = { Name = "${var.site}-data" }
}

resource "aws_ebs_snapshot_copy" "data" {
  source_snapshot_id = aws_ebs_snapshot.data.id
  source_region      = var.region
  description        = "a copy"
  encrypted          = true
  kms_key_id         = aws_ebs_snapshot.data.kms_key_id
  tags               = { Name = "${var.site}-copy" }
}

resource "aws_ebs_volume" "restored" {
  availability_zone = local.zones[length(local.zones) - 1]
  snapshot_id       = aws_ebs_snapshot.data.id
  type              = "gp2"
  tags              = { Name = "${var.site}-restored" }
}

resource "aws_ami" "data" {
  name                = "${var.site}-registered"
  virtualization_type = "hvm"
  root_device_name    = "/dev/sda1"
  ena_support         = true
  tags                = { Name = "${var.site}-registered" }

  ebs_block_device {
    device_name = "/dev/sda1"
    snapshot_id = aws_ebs_snapshot.data.id
  }
}
