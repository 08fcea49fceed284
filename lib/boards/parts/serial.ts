/** Further serial ports of a PC, each a stream to programs. */
import { ByteQueue } from '../../devices/byte-queue.js';
import { Uart16550 } from '../../devices/serial/uart16550.js';
import { STREAM_WINDOW, type StreamClient, type StreamPeer } from '../../devices/stream.js';
import { UsageError } from '../../errors.js';
import { type DeviceOption, intProp } from '../device-options.js';
import type { Parts } from './parts.js';

/** COM2 to COM4: COM3 and COM4 have interrupts of their own, which ACPI tells. */
const PORTS: readonly { base: number; irq: number }[] = [{ base: 0x2f8, irq: 3 }, { base: 0x3e8, irq: 5 }, { base: 0x2e8, irq: 7 }];

/** A UART between its pins and a stream. What the guest sends while nobody reads, or faster than it is read, is lost, as on a wire. */
class SerialStream implements StreamClient {
  uart!: Uart16550;
  peer!: StreamPeer;
  private readonly input = new ByteQueue(STREAM_WINDOW);
  private open = false;

  write(bytes: Uint8Array): void {
    if (this.open) this.peer.send(bytes.subarray(0, this.peer.room));
  }

  received(bytes: Uint8Array): void {
    this.input.push(bytes);
    this.pump();
  }

  pump(): void {
    for (let part = this.input.peek(STREAM_WINDOW); part.length > 0; part = this.input.peek(STREAM_WINDOW)) {
      const n = this.uart.receive(part);
      if (n === 0) break;
      this.input.drop(n);
      this.peer.consumed(n);
    }
  }

  roomChanged(): void {}

  opened(): void {
    this.open = true;
  }

  ended(): void {}

  closed(): void {
    this.open = false;
    this.input.clear();
  }
}

/** `isa-serial[,index=1..3][,name=NAME]`. */
export function addIsaSerial(p: Parts, o: DeviceOption): void {
  const taken = new Set(p.serialPorts.map((s) => s.index));
  const free = [1, 2, 3].find((i) => !taken.has(i));
  const index = intProp(o, 'index', free ?? 1, 3);
  if (free === undefined || taken.has(index)) throw new UsageError(`--device: isa-serial: ${free === undefined ? 'a PC has four serial ports' : `there are two with index=${index}`}`);
  if (index === 0) throw new UsageError('--device: isa-serial: index=0 is the port of --serial');
  const { base, irq } = PORTS[index - 1]!;
  const s = new SerialStream();
  s.uart = p.add(new Uart16550({ name: `com${index + 1}`, clock: p.host.clock, irq: p.isa[irq]!, backend: { write: (b) => s.write(b), onRoom: () => s.pump() } }));
  s.peer = p.host.port(o.props.name ?? `serial${index}`, s);
  p.memory.mapPorts(base, 8, s.uart.ports);
  p.serialPorts.push({ index, base, irq });
}
