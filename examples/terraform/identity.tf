# A role of the machines, a user of a group, and their policies.

data "aws_iam_policy_document" "machines" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "reads" {
  statement {
    actions   = ["s3:GetObject", "s3:ListBucket"]
    resources = [aws_s3_bucket.site.arn, "${aws_s3_bucket.site.arn}/*"]
  }
}

resource "aws_iam_role" "machine" {
  name               = "${var.site}-machine"
  description        = "What the machines of ${var.site} may"
  assume_role_policy = data.aws_iam_policy_document.machines.json
  tags               = { Name = var.site }
}

resource "aws_iam_role_policy" "reads" {
  name   = "reads"
  role   = aws_iam_role.machine.id
  policy = data.aws_iam_policy_document.reads.json
}

resource "aws_iam_role_policy_attachment" "looks" {
  role       = aws_iam_role.machine.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEC2ReadOnlyAccess"
}

resource "aws_iam_instance_profile" "machine" {
  name = "${var.site}-machine"
  role = aws_iam_role.machine.name
}

resource "aws_iam_policy" "operators" {
  name        = "${var.site}-operators"
  description = "Start and stop what is of ${var.site}"
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = ["ec2:StartInstances", "ec2:StopInstances"]
      Resource  = "*"
      Condition = { StringEquals = { "aws:ResourceTag/stage" = var.stage } }
    }]
  })
}

resource "aws_iam_group" "operators" {
  name = "${var.site}-operators"
}

resource "aws_iam_group_policy_attachment" "operators" {
  group      = aws_iam_group.operators.name
  policy_arn = aws_iam_policy.operators.arn
}

resource "aws_iam_user" "ana" {
  name          = "${var.site}-ana"
  path          = "/${var.site}/"
  force_destroy = true
}

resource "aws_iam_user_group_membership" "ana" {
  user   = aws_iam_user.ana.name
  groups = [aws_iam_group.operators.name]
}

resource "aws_iam_user_policy" "ana" {
  name   = "reads"
  user   = aws_iam_user.ana.name
  policy = data.aws_iam_policy_document.reads.json
}

resource "aws_iam_access_key" "ana" {
  user = aws_iam_user.ana.name
}
