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
