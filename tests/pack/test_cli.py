"""`edgephi-pack` as a packager meets it."""

from __future__ import annotations

from support.releasing import run_pack


def test_every_command_has_help_and_a_misspelled_one_is_named():
    shown = run_pack("--help").stdout
    for command in ("app", "bundle", "deb", "keys", "oci"):
        assert f"\n  {command} " in shown
        assert run_pack(command, "--help").exit_code == 0
    done = run_pack("bundel")
    assert (done.exit_code, "did you mean bundle" in done.stderr) == (2, True)
