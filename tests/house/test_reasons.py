"""Every exception to a rule says why, where it stands."""

import ast
import re
from pathlib import Path

from tests.house.checkout import comments, complain, has_comment, name_of, nodes_of, python_files, text_of

# Switches as in: noqa: X - why; type: ignore[x]  # why
_SWITCH = re.compile(r"#\s*(?P<what>noqa|type:\s*ignore|pragma: no cover|pylint:|ruff:|mypy:)(?P<rest>.*)")
_CODES = re.compile(r"^\s*(?:[:=]?\s*(?:\[[\w\-, ]+\]|[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*))")
_REASON_LETTERS = 3


def _reason_of(rest: str) -> str:
    """What a switch's comment says beyond the codes."""
    return _CODES.sub("", rest).strip(" #-:,\u2013\u2014")


def test_switched_off_checks_have_a_code_and_a_reason() -> None:
    offences = []
    for comment in comments():
        found = _SWITCH.search(comment.text)
        if found and (not _CODES.match(found["rest"]) or len(_reason_of(found["rest"])) < _REASON_LETTERS):
            offences.append(f"{comment.place}: {comment.text}")
    complain(
        "Write `# noqa: CODE - why` or `# type: ignore[code]  # why`: a bare switch hides later mistakes too:", offences
    )


def _caught(node: ast.ExceptHandler) -> list[str]:
    if node.type is None:
        return ["everything"]
    parts = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
    return [ast.unparse(part) for part in parts]


def test_broad_excepts_have_a_reason() -> None:
    """`except Exception` needs a comment at it or just below; only a re-raise may do without."""
    offences = []
    for path in python_files():
        for node in nodes_of(path):
            if isinstance(node, ast.ExceptHandler) and {"everything", "Exception", "BaseException"} & set(
                _caught(node)
            ):
                reraises = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
                if not reraises and not has_comment(path, node.lineno - 1, node.body[0].lineno):
                    offences.append(f"{name_of(path)}:{node.lineno}")
    complain(
        "An except for everything also hides mistakes nobody thought of. Name the errors, or say why all:", offences
    )


def test_silent_excepts_have_a_reason() -> None:
    """`except X: pass` (or `continue`) needs a comment that says why nothing is to be done."""
    offences = []
    for path in python_files():
        for node in nodes_of(path):
            if not isinstance(node, ast.ExceptHandler) or has_comment(path, node.lineno, node.body[-1].lineno):
                continue
            if all(isinstance(step, ast.Pass | ast.Continue) for step in node.body):
                offences.append(f"{name_of(path)}:{node.lineno}")
    complain("An error that is dropped in silence is looked for at night. Say why it does not matter:", offences)


def test_suppressed_errors_have_a_reason() -> None:
    offences = []
    for path in python_files():
        lines = (text_of(path) or "").splitlines()
        for number, line in enumerate(lines, 1):
            if re.search(r"\bsuppress\(", line) and not has_comment(path, number - 1, number):
                offences.append(f"{name_of(path)}:{number}")
    complain(
        "`suppress` drops an error in silence; say on that line or the one above why it does not matter:", offences
    )


def test_skipped_tests_have_a_reason() -> None:
    offences = []
    for path in python_files():
        for node in nodes_of(path):
            called = node.func if isinstance(node, ast.Call) else node
            name = ast.unparse(called) if isinstance(called, ast.Attribute) else ""
            if name in {"pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail", "pytest.skip", "pytest.xfail"}:
                call = node if isinstance(node, ast.Call) else None
                if call is None and _is_called(path, node):
                    continue
                if call is None or not _gives_reason(name, call):
                    offences.append(f"{name_of(path)}:{getattr(node, 'lineno', 0)}: {name}")
    complain("A test that does not run proves nothing; its reason is what makes someone bring it back:", offences)


def _is_called(path: Path, attribute: ast.AST) -> bool:
    return any(isinstance(node, ast.Call) and node.func is attribute for node in nodes_of(path))


def _gives_reason(name: str, call: ast.Call) -> bool:
    if name in {"pytest.skip", "pytest.xfail"}:
        return bool(call.args or call.keywords)
    return any(keyword.arg == "reason" for keyword in call.keywords)


def test_tests_do_not_sleep() -> None:
    """A test waits for a condition with a deadline, never for a time."""
    offences = []
    for path in python_files():
        if path.parts[-3:-1] == ("tests", "support") or "tests" not in path.parts:
            continue
        for node in nodes_of(path):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and ast.unparse(node.func) in {"time.sleep", "asyncio.sleep"}
            ):
                zero = node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
                if not zero and not has_comment(path, node.lineno - 1, node.lineno):
                    offences.append(f"{name_of(path)}:{node.lineno}")
    complain(
        "A sleep is too short on a slow machine and too long on a fast one; wait with tests.support.waiting:", offences
    )


def test_processes_are_started_in_one_module() -> None:
    """Only some rooms start processes, so that each has a deadline, no shell, and no more rights than it needs."""
    allowed = {
        "agent/": ("agent/stead_agent/programs/run.py",),
        "controller/": (
            "controller/stead_controller/blocks/confinement.py",
            "controller/stead_controller/enclosed_process.py",
            "controller/stead_controller/resources/metrics/widget_image.py",  # our own program, with nothing of our environment
            "controller/stead_controller/secrets/master_key.py",  # the operator's own command, at the start
        ),
    }
    offences = []
    for path in python_files():
        name = name_of(path)
        if any(name.startswith(top) and name not in found for top, found in allowed.items()):
            for node in nodes_of(path):
                text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
                if text in {"subprocess.run", "subprocess.Popen", "os.system", "asyncio.create_subprocess_exec"}:
                    offences.append(f"{name}:{getattr(node, 'lineno', 0)}: {text}")
    complain(
        f"processes are started only in {', '.join(name for found in allowed.values() for name in found)}:", offences
    )
