"""What varies is taken out of observations, and nothing else is."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from forager.errors import UsageError
from forager.replay.compare import compare
from forager.replay.rules import BUILT_IN, load_rules, normalise
from forager.sandbox.output import BoundedOutput

PYTEST = "{bar} 3 failed, 12 passed in {seconds} {bar2}"


@pytest.mark.parametrize(
    ("rule", "command", "logged", "replayed"),
    [
        ("dates", "date", "Sat Nov 21 03:04:31 UTC 2026", "Sun Nov 22 13:00:00 UTC 2026"),
        ("dates", "date -R", "Sat, 21 Nov 2026 03:04:31 +0000", "Mon, 30 Nov 2026 00:00:01 +0000"),
        ("dates", "date -Is", "2026-11-21T03:04:31+00:00", "2027-01-01T00:00:00+00:00"),
        ("dates", "tail log", "2026-11-21 03:04:31,123 INFO", "2026-11-22 13:14:15,999 INFO"),
        ("dates", "ls -l", "-rw-r--r-- 1 root root 12 Nov 21 03:04 a", "-rw-r--r-- 1 root root 12 Dec  1 13:44 a"),
        ("dates", "git log -1", "Date:   Sat Nov 21 03:04:31 2026 +0000", "Date:   Sun Nov 22 03:04:31 2026 +0000"),
        ("dates", "date +%s", "1795230271", "1795316671"),
        (
            "durations",
            "pytest",
            "============ 3 failed, 12 passed in 9.12s =============",
            "============ 3 failed, 12 passed in 10.12s ============",
        ),
        (
            "durations",
            "pytest",
            "================= 1 passed in 59.99s ==================",
            "============= 1 passed in 75.12s (0:01:15) ============",
        ),
        ("durations", "python -m unittest", "Ran 3 tests in 0.003s", "Ran 3 tests in 1.204s"),
        ("durations", "time true", "real\t0m0.003s\nuser\t0m0.001s", "real\t0m1.503s\nuser\t1m0.001s"),
        ("durations", "bench", "took 12 ms (83.1 it/s)", "took 9 ms (111 it/s)"),
        ("temporary-paths", "mktemp", "/tmp/tmp.Wd3pZ0qRtL", "/tmp/tmp.aaBBcc1234"),
        ("temporary-paths", "pytest", "/tmp/pytest-of-root/pytest-0/test_x0", "/tmp/pytest-of-root/pytest-3/test_x0"),
        ("temporary-paths", "python x.py", "wrote /tmp/tmpa1b2c3d4/x", "wrote /tmp/tmpzz_2c3d4/x"),
        ("addresses", "python x.py", "<object object at 0x7f95b12c4200>", "<object object at 0x7f0000000010>"),
        ("process-ids", "sleep 9 &", "[1] 4242", "[1] 17"),
        ("process-ids", "echo $$", "4242", "17"),
        ("process-ids", "ps aux", "root 12 0.0 0.1 sleep", "root 345 1.0 0.2 sleep"),
        ("process-ids", "./x", "bash: line 3:    77 Killed    ./x", "bash: line 3:   912 Killed    ./x"),
        ("commits", "git commit -am x", "[main 1a2b3c4] x", "[main f00ba44] x"),
        ("hosts", "hostname", "0123456789ab", "ba9876543210"),
        ("ports", "python serve.py", "http://127.0.0.1:43211/", "http://127.0.0.1:50001/"),
        ("seeds", "pytest", "Using --randomly-seed=123", "Using --randomly-seed=98765"),
        ("machine", "nproc", "2", "64"),
        ("order", "find . -name '*.py'", "./a.py\n./b.py", "./b.py\n./a.py"),
        ("order", "grep -rn x src", "src/a:1:x\nsrc/b:2:x", "src/b:2:x\nsrc/a:1:x"),
        (
            "budget",
            "",
            "* Remaining turns: 12\n* Remaining tokens: 99",
            "* Remaining turns: 12\n* Remaining tokens: 3",
        ),
    ],
)
def test_a_rule_takes_out_what_varies(rule: str, command: str, logged: str, replayed: str) -> None:
    found = compare(logged, replayed, BUILT_IN, command=command)
    assert (found.verdict, found.rules) == ("normalised", (rule,)), found.diff
    without = [other for other in BUILT_IN if other.name != rule]
    assert compare(logged, replayed, without, command=command).verdict == "different"


@pytest.mark.parametrize(
    ("command", "logged", "replayed"),
    [
        ("pytest", "3 failed, 12 passed in 1.00s", "2 failed, 13 passed in 1.00s"),
        ("cat x.py", "    return a - b", "    return a + b"),
        ("cat x.py", "timeout = 30", "timeout = 31"),
        ("ls", "a\nb", "b\na"),
        ("cat x.txt", "version 1.2.3", "version 1.2.4"),
        ("echo", "[exit code 0]", "[exit code 1]"),
        ("sort x", "10 s", "20 s"),
        ("sha256sum x", "0" * 64, "1" * 64),
    ],
)
def test_what_does_not_vary_by_itself_is_told(command: str, logged: str, replayed: str) -> None:
    found = compare(logged, replayed, BUILT_IN, command=command)
    assert found.verdict == "different" and "--- logged" in found.diff


def test_several_rules_are_all_named() -> None:
    found = compare("at 0xdeadbeef in 1.0s", "at 0xcafebabe in 2.0s", BUILT_IN)
    assert found.rules == ("durations", "addresses")


@pytest.mark.parametrize("piece", ["=", "= ", "in 1.0s ", "a" * 7, "/tmp/tmp", "Mon ", "1" * 9, "grep -", "12:"])
def test_a_hostile_observation_takes_no_time(piece: str) -> None:
    text = (piece * 40_000)[:40_000]
    began = time.process_time()
    normalise(text, BUILT_IN, "git find ps df" + text[:2000])
    assert time.process_time() - began < 2.0


def test_output_that_was_cut_off_is_compared_up_to_there() -> None:
    end = "\n[timed out after 2 s; what the command started was killed]"
    logged = f"one\ntwo\nthr{end}"
    assert compare(logged, f"one\ntwo\nthree\nfour{end}", BUILT_IN, timed_out=True).rules == ("timeout",)
    killed = f"one\ntwobash: line 3:    77 Killed     python x.py{end}"
    assert compare(killed, "one\ntwo and\nthree\n[exit code 0]", BUILT_IN, timed_out=True).rules == ("timeout",)
    assert compare(logged, f"one\ntw{end}", BUILT_IN, timed_out=True).rules == ("timeout",)
    assert compare(logged, "one\ntwo\nthree\n[exit code 0]", BUILT_IN, timed_out=True).rules == ("timeout",)
    assert compare(logged, f"one\nzwei{end}", BUILT_IN, timed_out=True).verdict == "different"
    assert compare(logged, "one\n[exit code 0]", BUILT_IN, timed_out=True).verdict == "different"
    assert compare(logged, f"one\ntwo\nthree{end}", BUILT_IN).verdict == "different", "only where it was cut off"


def test_a_file_adds_rules_before_the_built_in_ones(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(
        "disable = ['order']\n[[rule]]\nname = 'builds'\npattern = 'build (\\d+)'\nreplacement = 'build N'\n"
        "command = '^make'\n"
    )
    rules = load_rules(file)
    assert compare("build 1", "build 2", rules, command="make all").rules == ("builds",)
    assert compare("build 1", "build 2", rules, command="cat log").verdict == "different"
    assert compare("a\nb", "b\na", rules, command="find .").verdict == "different"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("disable = ['time']", "there is no rule 'time' to disable"),
        ("rules = 1", "'rules' is not understood"),
        ("[[rule]]\nname = 'x'", "rule 1: it needs name and pattern"),
        ("[[rule]]\nname = 'x'\npattern = '('", "rule 'x': "),
        ("[[rule]]\nname = 'x'\npattern = 'y'\nreplacement = '\\1'", "rule 'x': invalid group reference"),
        ("[[rule]]\nname = 'x'\npattern = 1", "rule 1: pattern is a text"),
        ("[[rule", "is not TOML"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, complaint: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"rules\.toml") as error:
        load_rules(file)
    assert complaint in str(error.value)


def test_a_command_that_limits_itself_may_reach_its_limit() -> None:
    logged, replayed = "1 failed in 4.02s\n[exit code 1]", "1 failed in 5.33s\n[exit code 124]"
    assert compare(logged, replayed, BUILT_IN, command="timeout 5 pytest").rules == ("timeout",)
    assert compare(logged, replayed, BUILT_IN, command="pytest").verdict == "different"
    assert compare(logged, "2 failed\n[exit code 124]", BUILT_IN, command="timeout 5 pytest").verdict == "different"


def test_the_cut_of_a_long_output_may_move_with_a_duration() -> None:
    lines = [f"line {number}" for number in range(5000)]

    def observation(seconds: str, lines: list[str]) -> str:
        bounded = BoundedOutput(4000)
        bounded.add("\n".join([f"begun in {seconds}", *lines, f"ended in {seconds}"]).encode())
        return bounded.text()

    logged, replayed = observation("9.9s", lines), observation("10.12s", lines)
    assert compare(logged, replayed, BUILT_IN).rules == ("truncation",)
    other = [*lines[:20], "another", *lines[20:]]
    assert compare(logged, observation("9.9s", other), BUILT_IN).verdict == "different"
    assert compare(logged, observation("9.9s", lines + lines), BUILT_IN).verdict == "different", "twice as long"
