"""Runs a program on a terminal of its own: what comes in is typed, what the terminal shows goes out.

terminal.py ROWS COLUMNS PROGRAM ARGUMENT…

The program's exit code is this one's. When the input ends, the terminal is hung up.
"""

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios

rows, columns = int(sys.argv[1]), int(sys.argv[2])
ours, theirs = os.openpty()
fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
program = subprocess.Popen(
    sys.argv[3:],
    stdin=theirs,
    stdout=theirs,
    stderr=theirs,
    start_new_session=True,
    preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
)
os.close(theirs)
while True:
    ready, _, _ = select.select([0, ours], [], [])
    if ours in ready:
        try:
            shown = os.read(ours, 65536)
        except OSError:
            shown = b""
        if not shown:
            break
        os.write(1, shown)
    if 0 in ready:
        typed = os.read(0, 65536)
        if not typed:
            os.close(ours)
            break
        os.write(ours, typed)
code = program.wait()
sys.exit(code if code >= 0 else 128 - code)
