/** The page of the web console: screen by VNC, control by QMP, serial console, each a WebSocket to where the page came from. */
import RFB from '/novnc/core/rfb.js';
import { Terminal } from '/terminal.js';

const $ = (id) => document.getElementById(id);
const socketUrl = (path) => `ws://${location.host}${path}`;

function say(text) {
  $('message').textContent = text;
  $('message').hidden = text === '';
}

// ---- control ----

class Qmp {
  constructor(onEvent, onClose) {
    this.waiting = new Map();
    this.next = 1;
    this.socket = new WebSocket(socketUrl('/qmp'));
    this.socket.binaryType = 'arraybuffer';
    const decoder = new TextDecoder();
    let text = '';
    this.socket.onmessage = ({ data }) => {
      text += decoder.decode(data, { stream: true });
      const lines = text.split('\r\n');
      text = lines.pop();
      for (const line of lines) this.message(JSON.parse(line), onEvent);
    };
    this.socket.onclose = onClose;
  }

  message(m, onEvent) {
    if (m.QMP !== undefined) void this.call('qmp_capabilities').then(onEvent);
    else if (m.event !== undefined) onEvent();
    else {
      this.waiting.get(m.id)?.(m);
      this.waiting.delete(m.id);
    }
  }

  /** Rejects with what the machine says. */
  call(execute, args) {
    const id = this.next++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, (m) => (m.error === undefined ? resolve(m.return) : reject(new Error(m.error.desc))));
      this.socket.send(JSON.stringify({ execute, arguments: args, id }));
    });
  }
}

let status = 'connecting';
const qmp = new Qmp(
  () => void refresh(),
  () => {
    status = 'ended';
    show();
  },
);

function show() {
  $('state').textContent = status;
  $('pause').textContent = status === 'running' ? 'Pause' : 'Continue';
  for (const id of ['pause', 'cad', 'power', 'reset', 'quit']) $(id).disabled = status === 'ended';
}

async function refresh() {
  ({ status } = await qmp.call('query-status'));
  show();
  await drives();
}

function act(id, action) {
  $(id).addEventListener('click', () => {
    say('');
    Promise.resolve(action()).catch((e) => say(e.message));
  });
}

act('pause', () => qmp.call(status === 'running' ? 'stop' : 'cont'));
act('power', () => qmp.call('system_powerdown'));
act('reset', () => qmp.call('system_reset'));
act('quit', () => (confirm('Switch the machine off at once? What it has not written to disk is lost.') ? qmp.call('quit') : undefined));
act('cad', () => qmp.call('send-key', { keys: ['ctrl', 'alt', 'delete'].map((data) => ({ type: 'qcode', data })) }));

// ---- drives ----

function driveRow(d) {
  const row = document.createElement('tr');
  const cell = (text) => row.appendChild(document.createElement('td')).append(text);
  cell(d.device);
  cell(`${d.inserted === undefined ? 'empty' : d.inserted.file}${d.tray_open ? ' (tray open)' : ''}${d.locked ? ' (locked by the guest)' : ''}`);
  const buttons = row.appendChild(document.createElement('td'));
  const button = (text, action) => {
    const b = buttons.appendChild(document.createElement('button'));
    b.textContent = text;
    b.addEventListener('click', () => {
      say('');
      Promise.resolve(action()).then(drives, (e) => say(e.message));
    });
  };
  if (!d.removable) return row;
  button('Change', () => {
    const filename = prompt(`File (on the machine's host) for ${d.device}:`, d.inserted?.file ?? '');
    return filename ? qmp.call('blockdev-change-medium', { id: d.device, filename }) : undefined;
  });
  if (d.inserted !== undefined) button('Eject', () => qmp.call('eject', { id: d.device }));
  return row;
}

async function drives() {
  $('drive-list').replaceChildren(...(await qmp.call('query-block')).map(driveRow));
}

// ---- serial ----

const serial = new WebSocket(socketUrl('/serial'));
serial.binaryType = 'arraybuffer';
const encoder = new TextEncoder();
const terminal = new Terminal($('terminal'), (text) => serial.send(encoder.encode(text)));
serial.onmessage = ({ data }) => terminal.write(new Uint8Array(data));

// ---- screen ----

function openScreen() {
  const rfb = new RFB($('screen'), socketUrl('/vnc'));
  rfb.scaleViewport = true;
  rfb.addEventListener('disconnect', () => {
    if (status !== 'ended') say('The connection to the screen is over.');
  });
}

const tabs = ['screen', 'serial', 'drives'];
function select(tab) {
  for (const t of tabs) {
    $(t).hidden = t !== tab;
    $(`tab-${t}`).setAttribute('aria-pressed', String(t === tab));
  }
  if (tab === 'serial') $('terminal').focus();
}
for (const t of tabs) $(`tab-${t}`).addEventListener('click', () => select(t));

const info = await (await fetch('/info.json')).json();
$('title').textContent = `vmx-accel: ${info.machine}, ${info.arch}`;
document.title = $('title').textContent;
if (info.display) {
  openScreen();
  select('screen');
} else {
  $('tab-screen').hidden = $('shot').hidden = true;
  select('serial');
}
