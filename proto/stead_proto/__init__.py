"""What Stead's programs share: their messages, and what both ends of a connection must do alike."""

from stead_proto.late import load_when_used

# Messages in pure Python, and as text, which protobuf imports wherever it keeps messages in C, and does not use there.
load_when_used("google.protobuf.internal.python_message")
