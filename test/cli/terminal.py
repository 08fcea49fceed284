"""Runs a command on a pseudo terminal under a script of expectations, read as JSON lines from standard input.

{"send": TEXT}, {"expect": TEXT}, or {"drawn": TEXT} for text that a screen painter may send in pieces, with cursor movements and colours between
them; after the last one it waits for the process. Prints one JSON object: status, whether the terminal's modes
were changed meanwhile and are restored at the end, and everything shown.
"""
import fcntl, json, os, pty, re, select, sys, termios

# The terminal's own side stays open here, so that its modes outlive the process.
fd, slave = pty.openpty()
before = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for n in (0, 1, 2):
        os.dup2(slave, n)
    os.closerange(3, 64)
    os.execvp(sys.argv[1], sys.argv[1:])
ended = os.pidfd_open(pid)
shown = b''
seen = 0
raw = False


def pump():
    """Waits for output or the end. False once the process has ended and everything is read."""
    global shown
    ready = select.select([fd, ended], [], [])[0]
    if fd in ready:
        shown += os.read(fd, 65536)
        return True
    return False


result = {}
for line in sys.stdin:
    step = json.loads(line)
    if 'send' in step:
        os.write(fd, step['send'].encode('latin1'))
    else:
        text = step.get('expect', step.get('drawn'))
        between = rb'(?:\x1b\[[0-9;?]*[A-Za-z])*' if 'drawn' in step else b''
        want = re.compile(between.join(re.escape(c.encode('latin1')) for c in text))
        found = want.search(shown, seen)
        while found is None and pump():
            found = want.search(shown, seen)
        if found is None:
            result['missing'] = text
            break
        seen = found.end()
        raw = raw or not termios.tcgetattr(slave)[3] & termios.ICANON
while pump():
    pass
result['restored'] = termios.tcgetattr(slave)[:4] == before[:4]
_, st = os.waitpid(pid, 0)
result.update(status=os.waitstatus_to_exitcode(st), raw=raw, shown=shown.decode('latin1'))
print(json.dumps(result))
