"""What DAG files of the project share."""


def greeting(name):
    return f"Hello, {name}!"
