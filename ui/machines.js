// The page of several machines: a list that is asked for again and again, and a line that starts another one.

const POLL_MS = 1000;
const $ = (id) => document.getElementById(id);

function say(text) {
  $('message').textContent = text;
  $('message').hidden = text === '';
}

/** Words as a shell has them: blanks between, quotes keep blanks. */
function split(line) {
  const words = [];
  for (const m of line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)) words.push(m[0].replace(/"([^"]*)"|'([^']*)'/g, (_all, a, b) => a ?? b));
  return words;
}

const quoted = (word) => (/[\s"']/.test(word) ? `'${word}'` : word);

/** Rejects with what the server says. */
async function post(path, body = {}) {
  const r = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) });
  const text = await r.text();
  if (!r.ok) throw new Error(text.startsWith('{') ? JSON.parse(text).error : text);
  return JSON.parse(text);
}

function row(m) {
  const tr = document.createElement('tr');
  const cell = (...content) => tr.appendChild(document.createElement('td')).append(...content);
  const button = (text, path, question) => {
    const b = document.createElement('button');
    b.type = 'button';
    b.textContent = text;
    b.addEventListener('click', () => {
      if (question !== undefined && !confirm(question)) return;
      say('');
      post(path).then(refresh, (e) => say(e.message));
    });
    return b;
  };
  cell(`${m.id}: ${m.machine}, ${m.arch}, ${m.cpus} ${m.cpus === 1 ? 'CPU' : 'CPUs'}, ${Math.round(m.memory / 1048576)} MiB`);
  cell(m.state);
  cell(m.words.map(quoted).join(' '));
  if (m.url === null) cell(button('Forget', `/machines/${m.id}/forget`));
  else {
    const open = document.createElement('a');
    open.href = m.url;
    open.target = '_blank';
    open.rel = 'noopener';
    open.textContent = 'Open';
    cell(open, ' ', button('Off', `/machines/${m.id}/stop`, 'Switch the machine off at once? What it has not written to disk is lost.'));
  }
  return tr;
}

let shown = '';
async function refresh() {
  const text = await (await fetch('/machines.json')).text();
  // Buttons that somebody is about to press stay where they are.
  if (text === shown) return;
  shown = text;
  const list = JSON.parse(text);
  $('list').replaceChildren(...list.map(row));
  $('empty').hidden = list.length > 0;
}

$('new').addEventListener('submit', (event) => {
  event.preventDefault();
  say('');
  $('start').disabled = true;
  post('/machines', { words: split($('words').value) })
    .then(refresh, (e) => say(e.message))
    .finally(() => ($('start').disabled = false));
});
// Before now a press would have sent the form to nobody and loaded the page again.
$('start').disabled = false;

async function poll() {
  try {
    await refresh();
    $('state').textContent = '';
  } catch {
    $('state').textContent = 'vmx-accel does not answer';
  }
  setTimeout(poll, POLL_MS);
}
void poll();
