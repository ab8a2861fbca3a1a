# Where machines run: those of the private subnets on different hosts, those like the front in partitions of their own.

resource "aws_placement_group" "back" {
  name     = "${var.site}-back"
  strategy = "spread"
  tags     = { Name = "${var.site}-back" }
}

resource "aws_placement_group" "front" {
  name     = "${var.site}-front"
  strategy = "partition"
  tags     = { Name = "${var.site}-front" }
}
