/**
 * A machine in its owner's thread. A worker takes 50 ms to begin, and the program is loaded in it a second time; a process that is there for one machine and has
 * nothing else to do meanwhile can run it in its main thread (docs/adr/0069). Owner and machine say the same to each other as between threads.
 */
import { EventEmitter } from 'node:events';
import type { ArchName } from './config.js';
import type { FromWorker, ToWorker, WorkerInit } from './protocol.js';
import type { AtEnd, OwnerPort } from './worker.js';

/** What a machine's owner has of its worker: `Worker`, or `LocalWorker`. */
export interface MachineWorker {
  postMessage(m: WorkerInit | ToWorker): void;
  on(event: 'message', listener: (m: FromWorker) => void): unknown;
  on(event: 'error', listener: (e: Error) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
  once(event: 'message', listener: (m: FromWorker) => void): unknown;
  once(event: 'error', listener: (e: Error) => void): unknown;
  once(event: 'exit', listener: () => void): unknown;
  terminate(): Promise<unknown>;
}

/** `serve` of worker.ts. */
export type Serve = (port: OwnerPort, ask: ArchName | null, atEnd: AtEnd) => void;

/**
 * One end of a line whose ends are in one thread. What is said at one end is heard at the other in a microtask: not while the machine executes
 * its guest, and before the event loop goes on. Messages are not copied: whoever sends one lets go of it.
 */
class End<Said, Heard> extends EventEmitter<{ message: [Heard] }> {
  private peer: End<Heard, Said> | null = null;
  private waiting: Heard[] = [];

  static line<A, B>(): [End<A, B>, End<B, A>] {
    const a = new End<A, B>();
    const b = new End<B, A>();
    a.peer = b;
    b.peer = a;
    return [a, b];
  }

  postMessage(m: Said): void {
    this.peer?.arrived(m);
  }

  /** Nothing is heard at either end any more. */
  cut(): void {
    if (this.peer !== null) this.peer.peer = null;
    this.peer = null;
    this.waiting = [];
  }

  private arrived(m: Heard): void {
    this.waiting.push(m);
    if (this.waiting.length === 1) queueMicrotask(() => this.deliver());
  }

  private deliver(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const m of waiting) if (this.peer !== null) this.emit('message', m);
  }
}

export class LocalWorker extends EventEmitter<{ message: [FromWorker]; error: [Error]; exit: [] }> implements MachineWorker {
  private readonly end: End<WorkerInit | ToWorker, FromWorker>;
  /** As a worker ends by an error that nobody has caught. */
  private readonly onUncaught = (e: unknown): void => void this.emit('error', e instanceof Error ? e : new Error(String(e)));
  private over = false;

  constructor(serve: Serve, atEnd: AtEnd) {
    super();
    const [mine, machines] = End.line<WorkerInit | ToWorker, FromWorker>();
    this.end = mine;
    mine.on('message', (m) => this.emit('message', m));
    process.on('uncaughtException', this.onUncaught);
    // The first message is a `WorkerInit`, all others are not: the listeners of OwnerPort say so.
    serve(machines as OwnerPort, null, atEnd);
  }

  postMessage(m: WorkerInit | ToWorker): void {
    this.end.postMessage(m);
  }

  /** The machine is heard of no more. It must have ended: nothing can take a thread's own work from it. */
  terminate(): Promise<void> {
    if (!this.over) {
      this.over = true;
      this.end.cut();
      process.off('uncaughtException', this.onUncaught);
      this.emit('exit');
    }
    return Promise.resolve();
  }
}
