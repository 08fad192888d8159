"""The command ``ferlib`` runs the commands of the package and imports only the one asked for."""

import subprocess
import sys

import pytest

import ferlib
from ferlib.__main__ import COMMANDS, main
from ferlib.core.errors import OptionError


def test_help_lists_the_commands(capsys):
    assert main([]) == main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text for name in COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ferlib {ferlib.__version__}\n"


def test_unknown_command_is_refused_with_a_list():
    with pytest.raises(OptionError, match=r"commands download, train, .*, runs, got 'predic'; see ferlib --help\."):
        main(["predic"])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_answers_help(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "usage: " in text
    assert "examples:" in text


def test_only_the_requested_command_is_imported():
    code = (
        "import sys; from ferlib.__main__ import main\n"
        "try: main(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'keras', 'pandas', 'sklearn', 'matplotlib', 'ferlib.train', 'ferlib.download'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_usage_ends_with_one_line_and_status_two():
    command = [sys.executable, "-m", "ferlib", "fly"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: Expected one of the commands download, ")
    assert done.stderr.count("\n") == 1
