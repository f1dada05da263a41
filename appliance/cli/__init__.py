"""The command line: parse, call, print, choose the exit code.

Results go to stdout, talk to stderr. Nothing heavy is imported at module level: what needs Temporal, asyncio
or YAML is imported inside the command that uses it, so that ``--help`` is instant and ``submit`` is quick.
"""
