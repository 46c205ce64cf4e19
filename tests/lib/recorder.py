"""Recording: with RECORD=DIR in the environment every daemon that a bed starts is traced by tests/tools/record.c,
which leaves in DIR what each of its processes called in its sandbox.  Slower, otherwise the same."""
import os

DIRECTORY = os.environ.get("RECORD")


def recorded(command):
    """The command, to be run traced where recording is asked for; it keeps its pid."""
    if not DIRECTORY:
        return command
    build = os.environ["O"]
    return [os.path.join(build, "tools", "record"), DIRECTORY, build, *command]
