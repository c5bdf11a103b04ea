"""What Lambda runs: one zip for each function, made without docker, with the hashed requirements' wheels for its machine.

``python -m infra.package`` makes them all. A zip holds the modules that the function's handler reaches, the packages it needs
and no others, byte-compiled.
"""
