# A site of two zones on Stead, made by Terraform's AWS provider as on AWS. Where it differs from AWS is in this file only.

terraform {
  required_version = ">= 1.3"
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 3.39" }
  }
}

variable "endpoint" {
  description = "Where Stead answers: AWS_ENDPOINT_URL of `stead env`. Every service gets it, so that no name server is asked."
  type        = string
}

variable "region" {
  description = "The region of the cloud: AWS_DEFAULT_REGION of `stead env`."
  type        = string
  default     = "us-east-1"
}

variable "site" {
  description = "Name of what is made, unique in the account."
  type        = string
  default     = "terraform-site"
}

variable "image_name" {
  description = "Which of the cloud's public images the machines start from."
  type        = string
  default     = "stead-micro-*"
}

variable "public_key" {
  description = "An SSH public key, which the machines let in."
  type        = string
}

# What the second step of the README changes in place.
variable "instance_type" {
  type    = string
  default = "t3.nano"
}

variable "credits" {
  description = "How the machines of the private subnets spend CPU credits: standard, unlimited."
  type        = string
  default     = "standard"
}

variable "slow" {
  description = "Milliseconds that an answer of the site may take before an alarm says so."
  type        = number
  default     = 250
}

variable "data_size" {
  description = "GiB of the data volume."
  type        = number
  default     = 1
}

variable "workers" {
  description = "How many Spot Instances there are."
  type        = number
  default     = 0
}

variable "stage" {
  description = "A tag of everything."
  type        = string
  default     = "first"
}

variable "people" {
  description = "From where the machines may be reached by SSH and HTTP."
  type        = list(string)
  default     = ["198.18.0.0/15"]
}

# Credentials, and the CA of an https endpoint (AWS_CA_BUNDLE), are those of `stead env`.
provider "aws" {
  region              = var.region
  s3_force_path_style = true

  endpoints {
    autoscaling   = var.endpoint
    cloudwatch    = var.endpoint
    ec2           = var.endpoint
    iam           = var.endpoint
    sts           = var.endpoint
    s3            = var.endpoint
    servicequotas = var.endpoint
    sns           = var.endpoint
    budgets       = var.endpoint
  }

  default_tags {
    tags = { stage = var.stage }
  }
}

data "aws_caller_identity" "me" {}

data "aws_availability_zones" "all" {
  state = "available"
}

locals {
  zones = slice(data.aws_availability_zones.all.names, 0, min(2, length(data.aws_availability_zones.all.names)))
}
