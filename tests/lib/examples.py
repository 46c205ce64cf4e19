"""The examples of dist/examples as a test can run them: with its own server, directories and ports."""
import os

EXAMPLES = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "dist", "examples")


def from_example(name, bed, server, replaced):
    """The text of an example for a bed.  replaced: {text: other text}, every one of which must be there."""
    with open(os.path.join(EXAMPLES, name), encoding="utf-8") as f:
        text = f.read()
    url = server if isinstance(server, str) else server.url
    replaced = {"wss://opamp.example.com/v1/opamp": url, **replaced}
    for old, new in replaced.items():
        if old not in text:
            raise AssertionError(f"{name} has no {old}")
        text = text.replace(old, new)
    text = text.replace("\nagent:\n", "\nagent:\n"
                        f"  working_directory: {bed.path('var', 'work')}\n"
                        f"  log:\n    directory: {bed.path('var', 'log')}\n"
                        "  settling_time: 300ms\n  config_apply_timeout: 4s\n  stop_timeout: 3s\n")
    return (text + f"\nstorage:\n  directory: {bed.storage()}\n"
            f"control:\n  socket: {bed.path('var', 'control.sock')}\n")
