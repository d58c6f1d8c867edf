"""Who may import whom, as pyproject.toml says."""

import logging
import subprocess
import sys


def test_modules_import_only_from_layers_below(root):
    """In a process of its own: the tool switches off the loggers of the one it runs in."""
    log = logging.getLogger("tamis.serve")
    call = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports("
    call += f"config_filename={str(root / 'pyproject.toml')!r}, no_cache=True))"
    found = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, cwd=root)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 kept, 0 broken" in found.stdout
    assert not log.disabled
