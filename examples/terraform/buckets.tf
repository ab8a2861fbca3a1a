# A bucket with versions, encryption, a lifecycle, CORS and a policy, and an object in it.

resource "aws_s3_bucket" "site" {
  bucket        = "${var.site}-${data.aws_caller_identity.me.account_id}"
  acl           = "private"
  force_destroy = true
  tags          = { Name = var.site }

  versioning {
    enabled = true
  }

  server_side_encryption_configuration {
    rule {
      apply_server_side_encryption_by_default {
        sse_algorithm = "AES256"
      }
    }
  }

  lifecycle_rule {
    id      = "old"
    enabled = true
    prefix  = "logs/"

    expiration {
      days = 30
    }

    noncurrent_version_expiration {
      days = 7
    }
  }

  lifecycle_rule {
    enabled                                = true
    abort_incomplete_multipart_upload_days = 2
  }

  cors_rule {
    allowed_methods = ["GET"]
    allowed_origins = ["https://example.com"]
    allowed_headers = ["*"]
    max_age_seconds = 300
  }
}

resource "aws_s3_bucket_public_access_block" "site" {
  bucket                  = aws_s3_bucket.site.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_policy" "site" {
  bucket     = aws_s3_bucket.site.id
  depends_on = [aws_s3_bucket_public_access_block.site]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "machines"
      Effect    = "Allow"
      Principal = { AWS = aws_iam_role.machine.arn }
      Action    = "s3:GetObject"
      Resource  = "${aws_s3_bucket.site.arn}/*"
    }]
  })
}

resource "aws_s3_bucket_object" "hello" {
  bucket       = aws_s3_bucket.site.id
  key          = "hello.txt"
  content      = "hello of ${var.stage}"
  content_type = "text/plain"
  tags         = { Name = "hello" }
}
