# What is measured of the machines: alarms, one of an expression and one of other alarms, and a dashboard.

locals {
  # The alarms' own actions are names that EC2 knows: no topic is needed.
  action = "arn:aws:automate:${var.region}:ec2"
}

resource "aws_cloudwatch_metric_alarm" "stuck" {
  alarm_name          = "${var.site}-stuck"
  alarm_description   = "The front's own check fails: start it again"
  namespace           = "AWS/EC2"
  metric_name         = "StatusCheckFailed_Instance"
  dimensions          = { InstanceId = aws_instance.front.id }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  period              = 60
  evaluation_periods  = 3
  datapoints_to_alarm = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = ["${local.action}:reboot"]
  tags                = { Name = "${var.site}-stuck" }
}

resource "aws_cloudwatch_metric_alarm" "slow" {
  alarm_name                            = "${var.site}-slow"
  namespace                             = "Site"
  metric_name                           = "Latency"
  extended_statistic                    = "p99"
  evaluate_low_sample_count_percentiles = "ignore"
  comparison_operator                   = "GreaterThanThreshold"
  threshold                             = var.slow
  period                                = 60
  evaluation_periods                    = 5
  unit                                  = "Milliseconds"
}

resource "aws_cloudwatch_metric_alarm" "busy" {
  alarm_name          = "${var.site}-busy"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 80
  evaluation_periods  = 2

  metric_query {
    id          = "mean"
    expression  = "AVG(METRICS())"
    label       = "mean of the machines"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = aws_instance.back[*].id
    content {
      id = "m${metric_query.key}"
      metric {
        namespace   = "AWS/EC2"
        metric_name = "CPUUtilization"
        dimensions  = { InstanceId = metric_query.value }
        period      = 300
        stat        = "Average"
        unit        = "Percent"
      }
    }
  }
}

resource "aws_cloudwatch_composite_alarm" "bad" {
  alarm_name        = "${var.site}-bad"
  alarm_description = "Busy, and slow by that"
  alarm_rule        = "ALARM(${aws_cloudwatch_metric_alarm.busy.alarm_name}) AND ALARM(\"${aws_cloudwatch_metric_alarm.slow.alarm_name}\")"
  tags              = { Name = "${var.site}-bad" }
}

resource "aws_cloudwatch_dashboard" "site" {
  dashboard_name = var.site
  dashboard_body = jsonencode({
    widgets = [
      {
        type   = "metric"
        width  = 12
        height = 6
        properties = {
          title   = "Processors"
          region  = var.region
          metrics = [for id in concat([aws_instance.front.id], aws_instance.back[*].id) : ["AWS/EC2", "CPUUtilization", "InstanceId", id]]
        }
      },
      { type = "text", width = 12, height = 2, properties = { markdown = "Stage ${var.stage}" } },
    ]
  })
}
