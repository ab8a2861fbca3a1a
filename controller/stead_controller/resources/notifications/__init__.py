"""Topics of SNS: who subscribes to them, what is published, and its delivery."""
