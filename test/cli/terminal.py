"""Runs a command on a pseudo terminal under a script of expectations, read as JSON lines from standard input.

{"send": TEXT}, {"expect": TEXT}, or {"drawn": TEXT, "times": N} for a text that stands N times (1 by default) on an 80x25 screen which a painter
updates cell by cell; after the last one it waits for the process. Prints one JSON object: status, whether the terminal's modes
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


cells = [[' '] * 80 for _ in range(25)]
at = [0, 0]
painted = 0


def screen():
    """The lines of the screen after everything shown: cursor positions and characters; colours and modes leave the text alone."""
    global painted
    for m in re.compile(rb'\x1b\[([0-9;?]*)([A-Za-z])|[^\x1b]').finditer(shown, painted):
        painted = m.end()
        if m[2] == b'H':
            row, column = ((m[1] or b'1;1').split(b';') + [b'1'])[:2]
            at[:] = int(row) - 1, int(column) - 1
        elif m[2] is None:
            if at[0] < 25 and at[1] < 80:
                cells[at[0]][at[1]] = m[0].decode('latin1')
            at[1] += 1
    return '\n'.join(''.join(line) for line in cells)


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
        if 'drawn' in step:
            while (found := screen().count(text) >= step.get('times', 1)) is False and pump():
                pass
        else:
            while (found := shown.find(text.encode('latin1'), seen) >= 0) is False and pump():
                pass
            seen = shown.find(text.encode('latin1'), seen) + len(text)
        if not found:
            result['missing'] = text
            break
        raw = raw or not termios.tcgetattr(slave)[3] & termios.ICANON
while pump():
    pass
result['restored'] = termios.tcgetattr(slave)[:4] == before[:4]
_, st = os.waitpid(pid, 0)
result.update(status=os.waitstatus_to_exitcode(st), raw=raw, shown=shown.decode('latin1'))
print(json.dumps(result))
