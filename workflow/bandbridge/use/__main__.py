"""`python -m bandbridge.use`: the same as the command `bandbridge`."""

from bandbridge.use.cli import main

main()
