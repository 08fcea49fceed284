/** A machine's worker in its owner's thread (lib/machine/local-worker.ts): messages cross between the callbacks of the event loop. */
import { describe, expect, it } from 'vitest';
import { LocalWorker } from '#lib/machine/local-worker.js';
import type { FromWorker, ToWorker, WorkerInit } from '#lib/machine/protocol.js';
import type { OwnerPort } from '#lib/machine/worker.js';

const log = (message: string): FromWorker => ({ type: 'log', message });

/** A worker whose machine side is the test. */
function made(): { worker: LocalWorker; port: OwnerPort; ends: string[] } {
  let port: OwnerPort | null = null;
  const ends: string[] = [];
  const worker = new LocalWorker((p, ask, atEnd) => {
    expect(ask).toBeNull();
    port = p;
    atEnd('some');
  }, (part) => ends.push(part));
  return { worker, port: port!, ends };
}

describe('LocalWorker', () => {
  it('gives the first message to `once`, and those that follow to `on`, in order and never at once', async () => {
    const { worker, port, ends } = made();
    const heard: string[] = [];
    port.once('message', (m: WorkerInit) => {
      heard.push(`init ${m.build}`);
      port.on('message', (t: ToWorker) => heard.push(t.type));
    });
    worker.postMessage({ config: {}, build: 'b', kvm: null } as unknown as WorkerInit);
    worker.postMessage({ type: 'start' });
    worker.postMessage({ type: 'stop' });
    expect(heard).toEqual([]);
    await Promise.resolve();
    expect(heard).toEqual(['init b', 'start', 'stop']);
    expect(ends).toEqual(['some']);
    await worker.terminate();
  });

  it('hears what is said while a message is being heard after it', async () => {
    const { worker, port } = made();
    const heard: string[] = [];
    worker.on('message', (m) => {
      heard.push(m.type === 'log' ? m.message : m.type);
      if (heard.length === 1) port.postMessage(log('answer'));
    });
    port.postMessage(log('one'));
    port.postMessage(log('two'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(heard).toEqual(['one', 'two', 'answer']);
    await worker.terminate();
  });

  it('ends once, and nothing is heard after that', async () => {
    const { worker, port } = made();
    let ended = 0;
    worker.once('exit', () => ended++);
    worker.on('message', () => expect.unreachable('it is over'));
    port.postMessage(log('too late'));
    await worker.terminate();
    await worker.terminate();
    port.postMessage(log('later still'));
    worker.postMessage({ type: 'stop' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(ended).toBe(1);
  });

  it('takes what nobody catches for an error of the machine, until it ends', async () => {
    const { worker } = made();
    const errors: Error[] = [];
    worker.on('error', (e) => errors.push(e));
    const before = process.listeners('uncaughtException');
    const mine = before.at(-1)!;
    mine(new Error('from a timer'), 'uncaughtException');
    expect(errors.map((e) => e.message)).toEqual(['from a timer']);
    await worker.terminate();
    expect(process.listeners('uncaughtException')).not.toContain(mine);
  });
});
