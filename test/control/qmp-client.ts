/** A QMP client for tests: one message at a time. */
import { connect, type Socket } from 'node:net';
import { expect } from 'vitest';

export class QmpClient {
  readonly messages: Record<string, unknown>[] = [];
  closed = false;
  private text = '';
  private wake: () => void = () => {};

  private constructor(readonly socket: Socket) {
    socket.on('data', (d) => {
      this.text += d.toString();
      const lines = this.text.split('\r\n');
      this.text = lines.pop()!;
      for (const l of lines) this.messages.push(JSON.parse(l) as Record<string, unknown>);
      this.wake();
    });
    socket.on('close', () => ((this.closed = true), this.wake()));
    socket.on('error', () => socket.destroy());
  }

  static open(path: string): Promise<QmpClient> {
    return new Promise((resolve, reject) => {
      const s = connect(path, () => resolve(new QmpClient(s)));
      s.once('error', reject);
    });
  }

  /** The next reply or event; null: the connection is over. */
  async next(): Promise<Record<string, unknown> | null> {
    while (this.messages.length === 0 && !this.closed) await new Promise<void>((r) => (this.wake = r));
    return this.messages.shift() ?? null;
  }

  send(execute: string, args?: unknown): void {
    this.socket.write(JSON.stringify({ execute, arguments: args, id: execute }));
  }

  async call(execute: string, args?: unknown): Promise<Record<string, unknown> | null> {
    this.send(execute, args);
    return this.next();
  }

  async negotiate(): Promise<void> {
    expect(await this.next()).toMatchObject({ QMP: { version: { qemu: { major: expect.any(Number) as number } }, capabilities: [] } });
    expect(await this.call('qmp_capabilities')).toEqual({ return: {}, id: 'qmp_capabilities' });
  }
}
