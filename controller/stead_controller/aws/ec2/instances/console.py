"""GetConsoleOutput, GetConsoleScreenshot, GetPasswordData, SendDiagnosticInterrupt: what a host does with a guest."""

import base64

from stead_controller.aws.call import Call, Later, Params, Result, Then, operation
from stead_controller.errors import SteadError
from stead_controller.request.questions import HostAnswer
from stead_controller.resources.instances import guest_questions
from stead_proto import limits


@operation("GetConsoleOutput", writes=False)
def get_console_output(call: Call, params: Params) -> Result | Later:
    """Answer the last 64 KiB of the serial console."""
    instance_id = params["InstanceId"]
    question = guest_questions.console_output(call.tx, call.caller, [instance_id], limits.CONSOLE_OUTPUT_BYTES)
    if question is None:
        return {"InstanceId": instance_id, "Timestamp": call.now, "Output": ""}

    def finish(answer: HostAnswer) -> Result:
        text = base64.b64encode(answer.content).decode()
        return {"InstanceId": instance_id, "Timestamp": answer.taken_at, "Output": text}

    return Later(question, finish)


@operation("GetConsoleScreenshot", writes=False)
def get_console_screenshot(call: Call, params: Params) -> Result | Later:
    """Answer a screenshot."""
    instance_id = params["InstanceId"]
    wakes = params.get("WakeUp", False)
    question = guest_questions.screenshot(call.tx, call.caller, instance_id, wake_up=wakes)

    def finish(answer: HostAnswer) -> Result:
        return {"InstanceId": instance_id, "ImageData": base64.b64encode(answer.content).decode()}

    return Later(question, finish)


@operation("SendDiagnosticInterrupt", writes=False)
def send_diagnostic_interrupt(call: Call, params: Params) -> Later:
    """Send a guest a non-maskable interrupt; the answer comes when its host has done it."""

    def finish(answer: HostAnswer) -> Result:
        if answer.error:
            raise SteadError("The host of this instance could not interrupt it. Try again later.", code="Unavailable")
        return {}

    return Later(guest_questions.interrupt(call.tx, call.caller, params["InstanceId"]), finish)


@operation("GetPasswordData", writes=False)
def get_password_data(call: Call, params: Params) -> Result | Then:
    """Answer the password that a Windows guest made and encrypted with its key pair; empty while there is none."""
    instance_id = params["InstanceId"]
    question, known = guest_questions.password_data(call.tx, call.caller, instance_id)
    if question is None:
        return {"InstanceId": instance_id, "Timestamp": call.now, "PasswordData": known}

    def change(after: Call, answer: HostAnswer) -> Result:
        found = answer.content.decode("ascii", "replace") if not answer.error else ""
        password_data = guest_questions.keep_password_data(after.tx, after.caller, instance_id, found)
        return {"InstanceId": instance_id, "Timestamp": answer.taken_at, "PasswordData": password_data}

    return Then(question, change)
