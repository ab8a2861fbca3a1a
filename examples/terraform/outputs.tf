output "front" {
  description = "How to log in: ssh debian@…"
  value       = aws_eip.front.public_ip
}

output "machines" {
  value = concat([aws_instance.front.id], aws_instance.back[*].id)
}

output "workers" {
  value = aws_spot_instance_request.worker[*].spot_instance_id
}

output "bucket" {
  value = aws_s3_bucket.site.id
}

output "volume" {
  value = aws_ebs_volume.data.id
}

output "back" {
  description = "What the type of the machines in private subnets is, and what it may do with its volumes, in Mbps."
  value = {
    architectures = data.aws_ec2_instance_type.back.supported_architectures
    always        = data.aws_ec2_instance_type.back.ebs_performance_baseline_bandwidth
    for_a_while   = data.aws_ec2_instance_type.back.ebs_performance_maximum_bandwidth
  }
}
