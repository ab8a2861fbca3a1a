# A group of machines like the front: as many as the queue of jobs needs, at least `grown`, more on weekdays at eight (UTC).

variable "grown" {
  description = "How many machines the group has at least."
  type        = number
  default     = 0
}

resource "aws_autoscaling_group" "front" {
  name                      = "${var.site}-front"
  min_size                  = var.grown
  max_size                  = var.grown + 2
  vpc_zone_identifier       = aws_subnet.public[*].id
  health_check_grace_period = 60
  default_cooldown          = 30
  termination_policies      = ["OldestLaunchTemplate", "ClosestToNextInstanceHour"]
  enabled_metrics           = ["GroupDesiredCapacity", "GroupInServiceInstances"]

  launch_template {
    id      = aws_launch_template.front.id
    version = "$Latest"
  }

  warm_pool {
    pool_state                  = "Stopped"
    min_size                    = 1
    max_group_prepared_capacity = var.grown + 1
  }

  tag {
    key                 = "Name"
    value               = "${var.site}-grown"
    propagate_at_launch = true
  }
}

resource "aws_autoscaling_lifecycle_hook" "leaving" {
  name                   = "leaving"
  autoscaling_group_name = aws_autoscaling_group.front.name
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_TERMINATING"
  default_result         = "CONTINUE"
  heartbeat_timeout      = 30

  notification_target_arn = aws_sns_topic.front.arn
  role_arn                = aws_iam_role.tells.arn
  notification_metadata   = var.site

  depends_on = [aws_iam_role_policy.tells]
}

resource "aws_iam_role" "tells" {
  name = "${var.site}-tells"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { Service = "autoscaling.amazonaws.com" } }]
  })
}

resource "aws_iam_role_policy" "tells" {
  name = "tells"
  role = aws_iam_role.tells.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sns:Publish", Resource = aws_sns_topic.front.arn }]
  })
}

resource "aws_autoscaling_policy" "busy" {
  name                   = "busy"
  autoscaling_group_name = aws_autoscaling_group.front.name
  policy_type            = "TargetTrackingScaling"

  target_tracking_configuration {
    target_value = 50

    predefined_metric_specification {
      predefined_metric_type = "ASGAverageCPUUtilization"
    }
  }
}

resource "aws_autoscaling_policy" "queue" {
  name                      = "queue"
  autoscaling_group_name    = aws_autoscaling_group.front.name
  policy_type               = "StepScaling"
  adjustment_type           = "ChangeInCapacity"
  metric_aggregation_type   = "Maximum"
  estimated_instance_warmup = 30

  step_adjustment {
    metric_interval_lower_bound = 0
    metric_interval_upper_bound = 100
    scaling_adjustment          = 1
  }

  step_adjustment {
    metric_interval_lower_bound = 100
    scaling_adjustment          = 2
  }
}

resource "aws_cloudwatch_metric_alarm" "queue" {
  alarm_name          = "${var.site}-queue"
  alarm_description   = "jobs wait"
  namespace           = "Site"
  metric_name         = "Jobs"
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 1
  threshold           = 100
  comparison_operator = "GreaterThanOrEqualToThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_autoscaling_policy.queue.arn]
}

resource "aws_autoscaling_schedule" "morning" {
  scheduled_action_name  = "morning"
  autoscaling_group_name = aws_autoscaling_group.front.name
  recurrence             = "0 8 * * MON-FRI"
  min_size               = -1
  max_size               = -1
  desired_capacity       = var.grown + 1
}

resource "aws_sns_topic" "front" {
  name         = "${var.site}-front"
  display_name = "front"
  tags         = { Name = var.site }
}

resource "aws_autoscaling_notification" "front" {
  group_names   = [aws_autoscaling_group.front.name]
  notifications = ["autoscaling:EC2_INSTANCE_LAUNCH", "autoscaling:EC2_INSTANCE_TERMINATE"]
  topic_arn     = aws_sns_topic.front.arn
}
