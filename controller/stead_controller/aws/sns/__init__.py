"""SNS: topics whose messages are sent to URLs."""
