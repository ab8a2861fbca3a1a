"""Modules whose import costs nothing until they are used."""

import subprocess
import sys

_PROGRAM = """
import sys
from stead_proto.v1 import host_pb2
print("google.protobuf.text_format" in sys.modules)
from google.protobuf.internal import python_message
print(python_message.GeneratedProtocolMessageType.__name__, "google.protobuf.text_format" in sys.modules)
from google.protobuf import text_format
print(text_format.MessageToString(host_pb2.HostUpdate(state={"revision": 7}), as_one_line=True))
"""


def test_messages_in_pure_python_are_loaded_when_they_are_used():
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "GeneratedProtocolMessageType", "True", "state", "{", "revision:", "7", "}"]


def test_what_is_loaded_or_not_there_is_left_as_it_is():
    program = (
        "import sys, json.decoder as before;"
        "from stead_proto.late import load_when_used;"
        "load_when_used('json.decoder'); load_when_used('json.nothing');"
        "print(sys.modules['json.decoder'] is before, 'json.nothing' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["True", "False"]
