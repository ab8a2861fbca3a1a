"""What CloudTrail says of a call: the record that a request and its answer become."""
