"""The chat as a person has it, under a real terminal with real keys, and as a script has it, through a pipe.

The engine is the one of `fake_chat`; all else is the program's.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

FAKE = str(Path(__file__).with_name("fake_chat.py"))
CHAT = (sys.executable, FAKE)
CTRL_C, CTRL_D, UP = "\x03", "\x04", "\x1b[A"


def pipe(questions: str | bytes, **extra: str) -> subprocess.CompletedProcess[bytes]:
    import os

    raw = questions.encode() if isinstance(questions, str) else questions
    environ = {**os.environ, "LC_ALL": "C.UTF-8", **extra}
    return subprocess.run(CHAT, input=raw, capture_output=True, env=environ, timeout=60, check=False)


# --- through a pipe ----------------------------------------------------------------------------------------


def test_from_a_pipe_each_line_is_a_question_and_only_answers_come_out() -> None:
    done = pipe("say:one\n\nsay:二\r\nwhat\nclear\nwhat")
    assert done.returncode == 0
    assert done.stdout.decode() == "one\n二\nsay:one|one|say:二|二|what\nwhat\n"
    assert b"\x1b" not in done.stdout + done.stderr


def test_from_a_pipe_exit_leaves_the_rest_unasked() -> None:
    done = pipe("say:one\nexit\nsay:two\n")
    assert (done.returncode, done.stdout) == (0, b"one\n")


def test_from_a_pipe_a_mark_at_the_start_is_no_part_of_the_question() -> None:
    assert pipe(b"\xef\xbb\xbfsay:one\n").stdout == b"one\n"


def test_from_a_pipe_bytes_that_are_no_text_are_refused_by_their_line() -> None:
    done = pipe(b"say:one\nsay:\xff\xfe\n")
    assert done.returncode == 2
    assert done.stdout == b"one\n"
    assert b"stdin:2" in done.stderr


def test_no_question_at_all_is_no_error() -> None:
    assert pipe("").returncode == 0


def test_a_reader_that_leaves_ends_the_chat_quietly() -> None:
    with subprocess.Popen(CHAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as chat:
        assert chat.stdin
        assert chat.stdout
        assert chat.stderr
        chat.stdin.write(b"endless\n")
        chat.stdin.close()
        assert chat.stdout.read(3) == "和".encode()
        chat.stdout.close()
        assert chat.wait(30) == 0
        assert chat.stderr.read() == b""


def test_ctrl_c_on_a_chat_in_a_pipe_stops_it_with_the_code_of_the_table() -> None:
    with subprocess.Popen(CHAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as chat:
        assert chat.stdin
        assert chat.stdout
        assert chat.stderr
        chat.stdin.write(b"endless\n")
        chat.stdin.close()
        chat.stdout.read(3)
        chat.send_signal(signal.SIGINT)
        chat.stdout.read()
        assert chat.wait(30) == 75
        assert chat.stderr.read().decode().startswith("stopped.\n")


# --- under a terminal --------------------------------------------------------------------------------------


def test_a_conversation_streams_remembers_forgets_and_ends(terminal) -> None:
    chat = terminal(command=CHAT)
    at = chat.wait_for("User: ")
    assert "`exit` leaves" in chat.shown
    chat.press("say:good 早\n")
    at = chat.wait_for("good 早\r\n", after=chat.wait_for("Assistant: ", after=at))
    at = chat.wait_for("User: ", after=at)
    chat.press("what\n")
    at = chat.wait_for("say:good 早|good 早|what", after=at)
    at = chat.wait_for("User: ", after=at)
    chat.press("clear\n")
    at = chat.wait_for("forgotten", after=at)
    at = chat.wait_for("User: ", after=at)
    chat.press("help\n")
    at = chat.wait_for("stop the answer", after=at)
    at = chat.wait_for("User: ", after=at)
    chat.press("exit\n")
    assert chat.end() == 0


def test_ctrl_c_stops_the_answer_and_keeps_the_conversation(terminal) -> None:
    chat = terminal(command=CHAT)
    at = chat.wait_for("User: ")
    chat.press("endless\n")
    at = chat.wait_for("不同 和而", after=at)
    chat.press(CTRL_C)
    at = chat.wait_for("(stopped)", after=at)
    at = chat.wait_for("User: ", after=at)
    chat.press("what\n")
    at = chat.wait_for("endless|和而不同 和而", after=at)
    at = chat.wait_for("User: ", after=at)
    assert "\ufffd" not in chat.shown
    assert "^C" not in chat.shown
    chat.press(CTRL_D)
    assert chat.end() == 0


def test_a_second_ctrl_c_breaks_off_an_answer_that_does_not_come(terminal) -> None:
    chat = terminal(command=CHAT)
    at = chat.wait_for("User: ")
    chat.press("stuck\n")
    at = chat.wait_for("well", after=at)
    chat.press(CTRL_C)
    time.sleep(0.3)
    chat.press(CTRL_C)
    at = chat.wait_for("(stopped)", after=at, timeout_s=20)
    at = chat.wait_for("User: ", after=at)
    chat.press("exit\n")
    assert chat.end() == 0


def test_ctrl_c_twice_at_the_prompt_leaves_quietly(terminal) -> None:
    chat = terminal(command=CHAT)
    at = chat.wait_for("User: ")
    chat.press("half a quest")
    at = chat.wait_for("half a quest", after=at)
    chat.press(CTRL_C)
    at = chat.wait_for("Ctrl-C again", after=at)
    at = chat.wait_for("User: ", after=at)
    chat.press(CTRL_C)
    assert chat.end() == 0
    assert "Traceback" not in chat.shown


def test_a_question_between_two_ctrl_c_means_the_person_stays(terminal) -> None:
    chat = terminal(command=CHAT)
    at = chat.wait_for("User: ")
    chat.press(CTRL_C)
    at = chat.wait_for("User: ", after=chat.wait_for("Ctrl-C again", after=at))
    chat.press("say:here\n")
    at = chat.wait_for("User: ", after=chat.wait_for("Assistant: ", after=at))
    chat.press(CTRL_C)
    at = chat.wait_for("User: ", after=chat.wait_for("Ctrl-C again", after=at))
    chat.press("exit\n")
    assert chat.end() == 0


def test_the_arrow_brings_the_last_question_back(terminal) -> None:
    pytest.importorskip("readline")
    chat = terminal(command=CHAT)
    at = chat.wait_for("User: ")
    chat.press("say:again\n")
    at = chat.wait_for("User: ", after=chat.wait_for("Assistant: ", after=at))
    chat.press(UP)
    at = chat.wait_for("say:again", after=at)
    chat.press("\n")
    at = chat.wait_for("again\r\n", after=chat.wait_for("Assistant: ", after=at))
    chat.wait_for("User: ", after=at)
    chat.press(CTRL_D)
    assert chat.end() == 0


def test_an_answer_cannot_drive_the_terminal(terminal) -> None:
    chat = terminal(command=CHAT, NO_COLOR="1")
    at = chat.wait_for("User: ")
    chat.press("say:\x16\x1b]0;owned\x16\x07\x16\x1b[2J!\n")  # Ctrl-V lets a control sign into the line
    at = chat.wait_for("!\r\n", after=chat.wait_for("Assistant: ", after=at))
    answer = chat.shown[chat.shown.index("Assistant: ") : at]
    assert "\x1b]0" not in answer
    assert "\x1b[2J" not in answer
    chat.wait_for("User: ", after=at)
    chat.press(CTRL_D)
    assert chat.end() == 0


def test_the_chat_speaks_chinese(terminal) -> None:
    chat = terminal(command=CHAT, LLAMA_FACTORY_LANG="zh")
    at = chat.wait_for("用户")
    assert "退出" in chat.shown
    chat.press("say:好\n")
    chat.wait_for("好", after=chat.wait_for("助手", after=at))
    chat.press("exit\n")
    assert chat.end() == 0
