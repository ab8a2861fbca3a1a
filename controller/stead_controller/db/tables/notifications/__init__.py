"""Tables of topics, their subscribers, and messages on their way."""
